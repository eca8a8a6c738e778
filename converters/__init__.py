"""Host-side converters: trained models to int8 and int16x8 .tflite."""

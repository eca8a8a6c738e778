#!/usr/bin/env bash
# From nothing to a keyword model that has met two new voices, in two minutes on
# two cores:
#   bash docs/from_nothing.sh FOLDER
# Needs: pip install 'tflm-fg[kws,tf]'
set -euo pipefail

mkdir "${1:-from_nothing}"
cd "${1:-from_nothing}"

# Synthetic speech to train on, and voices that are never trained on.
tflm-fg-kws corpus --out=speech --clips_per_word=400
tflm-fg-kws corpus --out=others --clips_per_word=40 --split=test

# A DS-CNN from scratch, quantized and marked, with its replay set.
tflm-fg-kws train --data=speech --epochs=6 --out=kws.tflite >train.log
tflm-fg-kws evaluate --model=kws.tflite --data=others

# Two voices that it mishears: a whisper through a cheap microphone, and a
# Hungarian reading English. 20 clips a word to adapt to, 40 others to score on.
for voice in whisper hungarian; do
  tflm-fg-kws corpus --out="$voice" --domain="$voice" --split=adapt
  tflm-fg-kws corpus --out="$voice-others" --domain="$voice" --split=test \
    --clips_per_word=40
  tflm-fg-kws adapt --model=kws.tflite --data="$voice" --old_data=others \
    --test_data="$voice-others" --out="$voice.tflite" \
    --report_dir="$voice-report"
done

# The same clips as features, for the general programs.
tflm-fg-kws features --data=whisper-others --model=whisper.tflite \
  --out=whisper-others.npz
tflm-fg-evaluate --model=whisper.tflite --data=whisper-others.npz

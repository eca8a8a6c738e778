plugins {
  id("com.android.application")
  id("org.jetbrains.kotlin.android")
}

android {
  namespace = "org.example.teach"
  compileSdk = 35

  defaultConfig {
    applicationId = "org.example.teach"
    minSdk = 23
    targetSdk = 35
    versionCode = 1
    versionName = "1.0"
  }

  // A compressed asset cannot be mapped into memory.
  androidResources { noCompress += "tflite" }

  compileOptions {
    sourceCompatibility = JavaVersion.VERSION_17
    targetCompatibility = JavaVersion.VERSION_17
  }

  kotlinOptions { jvmTarget = "17" }
}

dependencies { implementation("com.google.ai.edge.litert:litert:2.1.5") }

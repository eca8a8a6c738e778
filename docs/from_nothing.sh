#!/usr/bin/env bash
# Trains a keyword model from scratch and adapts it to two new voices, in about
# two minutes on two idle cores:
#   bash docs/from_nothing.sh FOLDER [SEED]
# Needs, from a clone: pip install '.[kws,tf]'
set -euo pipefail

folder=${1:-from_nothing}
seed=${2:-0}
mkdir "$folder"
cd "$folder"

# Synthetic speech to train on, and voices that are never trained on.
tflm-fg-kws corpus --out=speech --clips_per_word=400 --seed="$seed"
tflm-fg-kws corpus --out=others --clips_per_word=40 --split=test \
  --seed="$seed"

# A DS-CNN from scratch, quantized and marked, with its replay set.
tflm-fg-kws train --data=speech --epochs=6 --seed="$seed" --out=kws.tflite \
  >train.log
tflm-fg-kws evaluate --model=kws.tflite --data=others

# Two voices that it mishears: a whisper through a cheap microphone, and a
# Hungarian reading English. 20 clips a word to adapt to, 40 others to score on.
for voice in whisper hungarian; do
  tflm-fg-kws corpus --out="$voice" --domain="$voice" --split=adapt \
    --seed="$seed"
  tflm-fg-kws corpus --out="$voice-others" --domain="$voice" --split=test \
    --clips_per_word=40 --seed="$seed"
  tflm-fg-kws adapt --model=kws.tflite --data="$voice" --old_data=others \
    --test_data="$voice-others" --out="$voice.tflite" \
    --seed="$seed" --report_dir="$voice-report"
done

# The same clips as features, for the general programs.
tflm-fg-kws features --data=whisper-others --model=whisper.tflite \
  --out=whisper-others.npz
tflm-fg-evaluate --model=whisper.tflite --data=whisper-others.npz

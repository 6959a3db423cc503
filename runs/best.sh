#!/usr/bin/env bash
# Our own training recipes: transfer learning, retrieval, a CNN from random weights. From the root of the repository:
#
#   DATA=path/to/data runs/best.sh
#
# `--fast` tries the script with two steps per run. Settings are environment variables, see functions.sh.
# The recipes were selected on the hold-out (tl_best: its rate), except ir_ce, which is a draft. Each run is tested once.
source "$(dirname "$0")/functions.sh"

$CARSFG data check "$DATA"

row tl_best "$RESNET" $(pretrained "$RESNET")
row ir_best "$RESNET" $(pretrained "$RESNET")
row ir_zero_shot "$RESNET" $(pretrained "$RESNET")
row ir_ce "$RESNET" $(pretrained "$RESNET")
for seed in 0 1 2; do
  row cnn_best "seed$seed" --seed_everything=$seed # 420 minutes on one core
done

$CARSFG report "$LOGS" --output "$REPORT" --data.root "$DATA"

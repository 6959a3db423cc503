#!/usr/bin/env bash
# All rows of the paper's tables: data, experiments, report. From the root of the repository:
#
#   DATA=path/to/data runs/paper.sh
#
# `--fast` tries the script with two steps per run. Settings are environment variables, see functions.sh.
# A comment after a row gives its minutes on one CPU core with bfloat16 (Intel Xeon) where they were measured; those marked ~ follow from images per second.
# No row was measured on a GPU yet.
source "$(dirname "$0")/functions.sh"

$CARSFG data check "$DATA"

# Table 2: transfer learning
row tl_exp1 "$RESNET" $(pretrained "$RESNET")                                # ResNet-50 frozen: 50
row tl_exp2 "$RESNET" $(pretrained "$RESNET")                                # the same with augmentation: ~50
row tl_exp3 "$RESNET" --config head_first.yaml $(pretrained "$RESNET")       # head, then all layers: ~150
row tl_densenet121 "$DENSENET" $(pretrained "$DENSENET")                     # measured with DenseNet-169: 113

# Table 4: the fine-tuned networks, scored by their nearest neighbours
score ir_exp1 "$RESNET" "tl_exp3/$RESNET" --model.backbone "$RESNET" --model.image_size "$SIZE"              # 3
score ir_exp2 "$RESNET" "tl_exp3/$RESNET" --model.backbone "$RESNET" --model.image_size "$SIZE"              # 3
score ir_exp3 "$DENSENET" "tl_densenet121/$DENSENET" --model.backbone "$DENSENET" --model.image_size "$SIZE" # 3

# Table 7: CNNs from random weights
row cnn_exp1 "${CNN_SIZE}px" --model.image_size="$CNN_SIZE"
row cnn_exp2 "${CNN_SIZE}px" --model.image_size="$CNN_SIZE"
row cnn_exp3 "${CNN_SIZE}px" --model.image_size="$CNN_SIZE"
row cnn_seed_leaky "${CNN_SIZE}px" --model.image_size="$CNN_SIZE"

$CARSFG report "$LOGS" --output "$REPORT" --data.root "$DATA"

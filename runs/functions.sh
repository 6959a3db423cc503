# Settings and functions of paper.sh and best.sh.
set -euo pipefail

DATA=${DATA:-data}                   # folder of the images, as in README.md
WEIGHTS=${WEIGHTS:-}                 # folder of pretrained weights, NETWORK.pt; empty: torchvision fetches them
RESNET=${RESNET:-resnet50}           # network of tl_exp1 to tl_exp3, ir_exp1 and ir_exp2
DENSENET=${DENSENET:-densenet121}    # network of tl_densenet121 and ir_exp3
SIZE=${SIZE:-224}                    # side of the images of pretrained networks, in pixels
CNN_SIZE=${CNN_SIZE:-128}            # side of the images of the paper's CNNs
OPTIONS=${OPTIONS:-}                 # for every run, such as "--trainer.precision=bf16-mixed --trainer.devices=1"
CARSFG=${CARSFG:-carsfg}

LOGS=lightning_logs REPORT=report
case ${1:-} in
  "") ;;
  --fast) LOGS=fast_logs REPORT=fast_report
    OPTIONS+=" --trainer.max_steps=2 --trainer.limit_train_batches=1 --trainer.limit_val_batches=1 --trainer.limit_test_batches=1" ;;
  *) echo "usage: $0 [--fast]   (--fast: two steps per run into fast_logs, to try the script)" >&2; exit 2 ;;
esac

# row EXPERIMENT NAME OPTION...: train and test into $LOGS/EXPERIMENT/NAME.
# A run that was tested is skipped; a run that was interrupted continues from its last checkpoint.
row() {
  local experiment=$1 name=$2 run=$LOGS/$1/$2
  shift 2
  if [ -f "$run/predictions.csv" ]; then
    echo "== $experiment/$name: done"
  elif [ -f "$run/config.yaml" ]; then
    echo "== $experiment/$name: continues"
    $CARSFG fit --resume "$run"
  else
    echo "== $experiment/$name"
    $CARSFG fit --config "$experiment.yaml" "$@" --name "$name" --data.root "$DATA" --trainer.default_root_dir "$LOGS" $OPTIONS
  fi
}

# score EXPERIMENT NAME RUN OPTION...: test the network of another run into $LOGS/EXPERIMENT/NAME.
score() {
  local experiment=$1 name=$2 source=$3 folder=$LOGS/$1/$2
  shift 3
  if [ -f "$folder/predictions.csv" ]; then
    echo "== $experiment/$name: done"
    return
  fi
  echo "== $experiment/$name: scores $source"
  rm -rf "$folder" # of a test that was interrupted
  $CARSFG test --config "$experiment.yaml" "$@" --model.init_from "$(checkpoint "$source")" --model.weights null \
    --name "$name" --data.root "$DATA" --trainer.default_root_dir "$LOGS" $OPTIONS
}

# checkpoint RUN: print the newest checkpoint of $LOGS/RUN.
checkpoint() {
  ls -t "$LOGS/$1/checkpoints/"*.ckpt | head -1
}

# pretrained NETWORK: print the options for a pretrained network.
pretrained() {
  local weights=DEFAULT
  if [ -n "$WEIGHTS" ]; then weights=$WEIGHTS/$1.pt; fi
  echo "--model.backbone=$1 --model.weights=$weights --model.image_size=$SIZE"
}

"""A TF-Slim checkpoint -> a .safetensors file of weights under timm's names, without TensorFlow.

python -m jobs.import_slim resnet_v2_152_2017_04_14.tar.gz --network slim_resnet_v2_152 --out weights/slim_resnet_v2_152.safetensors

CHECKPOINT is a V1 file, the prefix of a V2 checkpoint (of .index and .data-*), or a .tar.gz with one of them; local,
s3:// or gs://. Needs no Ray and no cluster: pip install -e '.[slim]'.
"""  # noqa: E501 - one command, to be copied

from __future__ import annotations

import argparse
import sys

import safetensors.torch
import torch

from lib.errors import CheckpointError, StorageError
from lib.slim.checkpoints import read_checkpoint
from lib.slim.variables import slim_networks, slim_state_dict
from lib.storage.files import delete, read_bytes, write_bytes


def import_slim(checkpoint: str, network: str, out: str, background: bool = True) -> dict[str, torch.Tensor]:
    """Write the weights to `out`, read them back, and return them.

    Raises CheckpointError, with nothing written, unless the checkpoint has exactly the network's variables.
    """
    state = slim_state_dict(checkpoint, network, read_checkpoint(checkpoint), background)
    write_bytes(out, safetensors.torch.save(state, metadata={"source": checkpoint, "network": network}))
    written = safetensors.torch.load(read_bytes(out))
    if written.keys() != state.keys() or not all(torch.equal(written[key], state[key]) for key in state):
        delete(out)
        raise CheckpointError(f"{out} didn't read back as it was written: removed it. Check the disk, and try again")
    return state


def main(arguments: list[str] | None = None) -> int:
    """Run the command, and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="path or URI")
    parser.add_argument("--network", required=True, choices=slim_networks(), help="timm's name of it")
    parser.add_argument("--out", required=True, help="path or URI of the .safetensors file to write")
    parser.add_argument("--drop-background", action="store_true", help="leave out class 0: 1000 classes, not 1001")
    options = parser.parse_args(arguments)
    if not options.out.endswith(".safetensors"):
        parser.error(f"--out {options.out}: must end with .safetensors, by which the file is known when it is loaded")
    try:
        state = import_slim(options.checkpoint, options.network, options.out, not options.drop_background)
    except (CheckpointError, StorageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    numbers = sum(tensor.numel() for tensor in state.values())
    print(f"{options.out}: {len(state)} tensors, {numbers:,} numbers. In an experiment:\n")
    print(_section(options.network, options.out, options.drop_background, len(state[_head(state)])))
    return 0


def _head(state: dict[str, torch.Tensor]) -> str:
    """Return the key of the last layer's bias."""
    return next(key for key in ("head.fc.bias", "last_linear.bias") if key in state)


def _section(network: str, out: str, dropped: bool, classes: int) -> str:
    """Return the lines of an experiment file that name the weights."""
    lines = [f"[networks.{network.removeprefix('slim_')}]", f'model = "{network}"', f'weights = "{out}"']
    lines.append(f"options = {{ num_classes = {classes} }}" if dropped else "class_offset = 1")
    return "\n".join([*lines, 'preprocessing = { transform = "slim", jpeg = "fastdct" }'])


if __name__ == "__main__":
    sys.exit(main())

"""All affine maps by the paper's Adam: one run of Ray Train, whose workers share the maps out among themselves.

Each map is written as soon as it is fitted, and unfinished ones have checkpoints of their own, so that a worker's death
costs only what was in flight: all workers start anew, share the maps out as before, and skip those that are finished.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray.train
import torch

from jobs.cluster.memory import FILL, worker_memory
from jobs.fitting.plan import bytes_of, group, share_out
from jobs.fitting.progress import GroupProgress, finished_maps
from jobs.fitting.streaming import stream_rows
from jobs.fitting.works import Work
from lib.experiment.variants import MapKey
from lib.features.reading import read_features
from lib.maps.adam import AdamFits
from lib.maps.batches import ResidentRows, Rows, Share, StreamedRows
from lib.maps.curves import CURVE, write_curve
from lib.maps.settling import shape_of
from lib.networks.devices import best_device
from lib.storage.files import delete, files_below, read_bytes, write_bytes
from lib.storage.uris import resolve


def fit_share_of(work: Work) -> None:
    """Fit one worker's share of the maps, group after group."""
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    team = Team.of(rank, world, work.settings.workers)
    device = best_device()
    if device.type == "cpu":
        torch.set_num_threads(work.settings.cpus)
    torch.backends.cuda.matmul.allow_tf32 = work.settings.tf32
    if team is None:  # a cluster gave more workers than make up whole teams
        return
    room = team.least(FILL * worker_memory(context.get_local_world_size()))
    for keys, states in groups_of_team(work, team, room, world // work.settings.workers):
        fit_group(work, team, device, keys, states)


@dataclass(frozen=True)
class Team:
    """Workers that share each batch of the same maps."""

    number: int
    share: Share
    group: torch.distributed.ProcessGroup | None  # None if the team is one worker

    @classmethod
    def of(cls, rank: int, world: int, workers: int) -> Team | None:
        """Return the team of `workers` workers to which this one belongs; None if it is left over."""
        teams = world // workers
        groups = [
            torch.distributed.new_group(list(range(first, first + workers))) if workers > 1 else None  # by all workers
            for first in range(0, teams * workers, workers)
        ]
        number = rank // workers
        if number >= teams:
            return None
        group = groups[number]
        return cls(number, Share(rank % workers, workers), group if workers > 1 else None)  # type: ignore[arg-type]

    def least(self, number: float) -> float:
        """Return the least of the numbers that the team's workers give here."""
        if self.group is None:
            return number
        found = torch.tensor(number, dtype=torch.float64, device=best_device())
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MIN, group=self.group)
        return float(found)


State = dict[str, Any]


def groups_of_team(work: Work, team: Team, room: float, teams: int) -> Iterator[tuple[list[MapKey], list[State]]]:
    """Yield the groups of maps that a team has still to fit, with their states if they were begun."""
    sizes = work.tables.sizes(sorted({network for key in work.artifacts for network in key.pair}))
    mine = share_out(list(work.artifacts), sizes, teams)[team.number]
    finished = finished_maps(work.files, work.artifacts)
    written = set(files_below(work.files.checkpoints))
    todo = [key for key in mine if key not in finished]
    begun = [key for key in todo if resolve(work.files.checkpoint(key.name))[1] in written]
    states = {key: read_state(work, key) for key in begun}
    iterations = {key: len(state["errors"]) for key, state in states.items()}

    def size(keys: Sequence[MapKey]) -> float:
        """Return the bytes that these maps take."""
        rows = work.settings.pool_rows if keys[0].pair in work.streamed else work.tables.rows(keys[0].source)
        return bytes_of(keys, sizes, rows, work.settings)

    for keys in group(todo, iterations, work.streamed, size, room):
        yield keys, [states.pop(key) for key in keys if key in states]


def fit_group(work: Work, team: Team, device: torch.device, keys: list[MapKey], states: list[State]) -> None:
    """Fit maps of one source and seed, and write them with their curves and manifests.

    The team's workers all have the same maps after each step; the first one writes them.
    """
    settings, seed = work.settings, work.seed + keys[0].variant.seed
    rows = rows_of(work, team.share, device, keys, seed)
    source, targets = keys[0].source, [key.target for key in keys]
    sizes = work.tables.sizes([source, *targets])
    fits = AdamFits(rows, sizes[source], [sizes[target] for target in targets], settings, seed, team.group)
    if states:
        fits.restore(states)
    title = keys[0].title if len(keys) == 1 else f"{source} -> {len(keys)} targets"
    progress = GroupProgress(title, fits.iteration, settings.iterations, work.board)
    while fits.iteration < settings.iterations:
        fits.step()
        if team.share.rank == 0:
            progress.show(fits)
            if fits.iteration % settings.checkpoint_every == 0 and fits.iteration < settings.iterations:
                for key, state in zip(keys, fits.states(), strict=True):
                    write_state(work, key, state)
    if team.share.rank == 0:
        for key, map_, curve in zip(keys, fits.maps(), fits.curves(), strict=True):
            origin = work.tables.origin(*key.pair, key.variant.name, float(curve[-1]))
            records = {
                work.files.curve(key.name): write_curve(work.files.curve(key.name), curve),
                work.files.map(key.name): map_.save(work.files.map(key.name), origin),
            }
            work.artifacts[key].finish(len(curve), CURVE, records, fit_error=float(curve[-1]), curve=shape_of(curve))
            delete(work.files.checkpoint(key.name))


def rows_of(work: Work, share: Share, device: torch.device, keys: list[MapKey], seed: int) -> Rows:
    """Return the source of batches for maps of one source."""
    networks = [keys[0].source, *(key.target for key in keys)]
    if keys[0].pair in work.streamed:
        stream = stream_rows(work.tables, networks, seed, share)
        return StreamedRows(stream, work.settings.pool_rows, device, seed, share)
    vectors = read_features(work.tables, networks).vectors
    X, *targets = (torch.from_numpy(vectors[network]).to(device) for network in networks)
    return ResidentRows(X, targets, seed, share, inplace=True)


def write_state(work: Work, key: MapKey, state: State) -> None:
    """Write the checkpoint of one map."""
    file = io.BytesIO()
    torch.save(state, file)
    write_bytes(work.files.checkpoint(key.name), file.getvalue())


def read_state(work: Work, key: MapKey) -> State:
    """Read the checkpoint of one map."""
    file = io.BytesIO(read_bytes(work.files.checkpoint(key.name)))
    state: State = torch.load(file, weights_only=True, map_location="cpu")
    return state

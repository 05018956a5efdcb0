"""Take what is damaged out of finished feature tables, so that the extraction makes just that anew."""

from __future__ import annotations

from jobs.cluster.damage import find_in_parts, say_damage
from lib.experiment.layout import manifest_in
from lib.features.tables import FeatureTable, FeatureTables
from lib.storage.files import delete
from lib.storage.manifests import Artifact
from lib.storage.uris import uri_beside


def take_out_damage(tables: FeatureTables) -> bool:
    """Delete the damaged files of these tables, which count as unfinished from then on. Return whether there were any.

    The other files are kept. If what is made anew comes out as it was, all that was made from it is kept, too.
    """
    folders = {table.folder: table for table in tables.tables.values()}
    return any([_take_out(table) for table in folders.values()])


def _take_out(table: FeatureTable) -> bool:
    damaged = find_in_parts(table.folder, table.parts())
    if not damaged:
        return False
    say_damage("extract", damaged.values())
    Artifact(manifest_in(table.folder), (table.folder,), table.manifest["made_from"]).reopen()
    for part in damaged:
        delete(uri_beside(table.folder, part.path))
    return True

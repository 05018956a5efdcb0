"""What Ray's autoscaler would launch, asked of its scheduler alone: nothing is started."""

from collections import Counter
from collections.abc import Collection
from typing import Any


def launched(config: dict[str, Any], *requests: dict[str, float], refused: Collection[str] = ()) -> Counter[str]:
    """Return the node types that are launched for `requests` when the head alone is there.

    Nodes of the types `refused` were asked for in vain just now.
    """
    from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
    from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
    from ray.autoscaler.v2.schema import AutoscalerInstance
    from ray.autoscaler.v2.utils import ResourceRequestUtil
    from ray.core.generated.autoscaler_pb2 import NodeState, NodeStatus
    from ray.core.generated.instance_manager_pb2 import Instance, NodeKind

    settings = AutoscalingConfig(config, skip_content_hash=True)
    kind = config["head_node_type"]
    has = {name: count for name, count in config["available_node_types"][kind]["resources"].items() if count}
    head = AutoscalerInstance(
        ray_node=NodeState(
            node_id=b"1", ray_node_type_name=kind, status=NodeStatus.IDLE, total_resources=has, available_resources=has
        ),
        im_instance=Instance(
            instance_id="1", instance_type=kind, status=Instance.RAY_RUNNING, node_kind=NodeKind.HEAD, node_id="31"
        ),
        cloud_instance_id="1",
    )  # fmt: skip
    reply = ResourceDemandScheduler(event_logger=None).schedule(
        SchedulingRequest(
            disable_launch_config_check=True,
            node_type_configs=settings.get_node_type_configs(),
            max_num_nodes=settings.get_max_num_nodes(),
            resource_requests=ResourceRequestUtil.group_by_count([ResourceRequestUtil.make(r) for r in requests]),
            current_instances=[head],
            recoverable_resource_availabilities=dict.fromkeys(refused, 0.0),
        )
    )
    return Counter({request.instance_type: request.count for request in reply.to_launch})

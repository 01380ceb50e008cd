"""Other bodies made from Gymnasium's own by MuJoCo's model editing: lengths, and numbers of parts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weit_rl.envs.bodies import Body
from weit_rl.envs.body_heights import ROOT, stance

SPINE_RANGE = 0.5  # rad to either side; a joint of the spine copies the rear hip in everything else


def build(asset: str, body: Body) -> tuple[Any, float]:
    """Compile the model of a body.

    Lengths along a part change, thicknesses do not. Masses follow from the geometry; joints and motors keep their
    numbers. The lowest point of the body starts as high above the floor as the original's.

    Args:
        asset: the original's XML file.
        body: the body to build.

    Returns:
        An ``mjModel``, and the height of its root as a multiple of the original's.
    """
    import mujoco

    spec = mujoco.MjSpec.from_file(asset)
    height, bottom = stance(_compiled(spec.copy()))
    root = spec.body(ROOT)
    _scale(root, body.value("torso"), body.value("limbs"))
    spec.copy_during_attach = True
    for parameter, edit in EDITS.items():
        if parameter in body.values:
            edit(spec, int(body.values[parameter]))
    new_height, new_bottom = stance(_compiled(spec.copy()))
    _raise(root, bottom - new_bottom)
    return _compiled(spec), (new_height - new_bottom) / (height - bottom)


def _scale(body: Any, own: float, limbs: float) -> None:
    """Stretch a body and its children; a child without a joint is fixed to the torso and belongs to it."""
    for geom in body.geoms:
        geom.pos, geom.fromto = geom.pos * own, geom.fromto * own
        sphere = geom.type.name == "mjGEOM_SPHERE"
        geom.size = geom.size * ([own, 1, 1] if sphere else [1, own, 1])
    for joint in body.joints:
        joint.pos = joint.pos * own
    for child in body.bodies:
        child.pos = child.pos * own
        _scale(child, limbs if child.joints else own, limbs)


def _links(spec: Any, number: int) -> None:
    """Make a chain of ``number`` links: after the second, all links are copies of the third."""
    link, last = spec.body("back"), spec.body("mid")
    for i in range(3, number + 1):
        last = last.add_frame().attach_body(link, "", f"_{i}")
    _delete(spec, link)


def _legs(spec: Any, number: int) -> None:
    """Place copies of the first leg, which stands at 45 degrees, in mirror symmetry about the forward axis."""
    originals = list(spec.body(ROOT).bodies)
    for i in range(number):
        half = (math.pi * (2 * i + 1) / number - math.pi / 4) / 2
        frame = spec.body(ROOT).add_frame(quat=[math.cos(half), 0, 0, math.sin(half)])
        frame.attach_body(originals[0], "", f"_{i + 1}")
    for leg in originals:
        _delete(spec, leg)


def _segments(spec: Any, number: int) -> None:
    """Cut the trunk into segments: the root is the front segment, and the hind leg hangs on the last one."""
    trunk, leg, last = spec.geom(ROOT), spec.body("bthigh"), spec.body(ROOT)
    length = (trunk.fromto[3] - trunk.fromto[0]) / number
    start = trunk.fromto[3] - length  # begin of the next segment, in the frame of the one before it
    trunk.fromto = [start, 0, 0, *trunk.fromto[3:]]
    for i in range(2, number + 1):
        last = last.add_body(name=f"{ROOT}_{i}", pos=[start, 0, 0])
        last.add_geom(name=f"{ROOT}_{i}", type=trunk.type, size=trunk.size, fromto=[0, 0, 0, -length, 0, 0])
        _spine(spec, last, f"spine_{i}")
        start = -length
    last.add_frame(pos=np.array([-length, 0, 0]) - leg.pos).attach_body(leg, "", "_rear")
    _delete(spec, leg)


def _delete(spec: Any, body: Any) -> None:
    """Delete a body and its children; MuJoCo before 3.3.5 has another name for this."""
    delete = spec.delete if hasattr(spec, "delete") else spec.detach_body
    delete(body)


def _spine(spec: Any, body: Any, name: str) -> None:
    """Add a hinge with a motor, as strong and as stiff as the rear hip."""
    hip, motor = spec.joint("bthigh"), spec.actuator("bthigh")
    limits = [-SPINE_RANGE, SPINE_RANGE]
    body.add_joint(name=name, axis=hip.axis, range=limits, stiffness=hip.stiffness, damping=hip.damping)
    spec.add_actuator(name=name, target=name, trntype=motor.trntype, gear=motor.gear)


EDITS = {"links": _links, "legs": _legs, "segments": _segments}


def _raise(root: Any, by: float) -> None:
    root.pos = np.add(root.pos, [0, 0, by])
    for joint in root.joints:
        if joint.ref:  # a slide joint whose position is the height itself
            joint.ref += by


def _compiled(spec: Any) -> Any:
    import mujoco

    total = spec.compiler.settotalmass  # set after compiling, since the compiler warns that the option is deprecated
    spec.compiler.settotalmass = -1
    model = spec.compile()
    if total > 0:
        mujoco.mj_setTotalmass(model, total)
        mujoco.mj_setConst(model, mujoco.MjData(model))
    spec.compiler.settotalmass = total
    return model

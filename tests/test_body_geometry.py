"""Bodies of other sizes: lengths, joints, masses and heights are as asked."""

import mujoco
import numpy as np
import pytest
from shared_bodies import ORIGINALS, OTHERS, STRETCHED, at_rest

from weit_rl.envs.bodies import Body
from weit_rl.envs.body_environment import body_env
from weit_rl.envs.body_heights import ROOT, lifts_torso, lowest, stance
from weit_rl.envs.registry import env_entry

WITH_HEIGHT_LIMITS = {"Hopper", "Walker2d", "Ant"}  # Gymnasium ends an episode of these below or above a height


@pytest.mark.parametrize("name", STRETCHED)
def test_lengths_are_as_asked_and_parts_stay_together(name):
    body = Body.parse(name)
    new, old = body_env(name).model, ORIGINALS[body.env].model
    news, olds, hanging = at_rest(new), at_rest(old), 0
    for geom in np.flatnonzero(old.geom_bodyid):
        rigid = old.body_weldid[old.geom_bodyid[geom]] == old.body(ROOT).id
        factor = body.value("torso") if rigid else body.value("limbs")
        capsule = old.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE
        assert np.allclose(new.geom_size[geom], old.geom_size[geom] * ([1, factor, 1] if capsule else [factor, 1, 1]))
        joint = old.body_jntadr[old.body_weldid[old.geom_bodyid[geom]]]
        if not rigid:  # measured from the joint that the part hangs on
            from_joint = [d.geom_xpos[geom] - d.xanchor[joint] for d in (news, olds)]
            assert np.allclose(from_joint[0], from_joint[1] * factor)
            hanging += 1
    assert hanging


@pytest.mark.parametrize(
    ("env", "joints", "of"),
    [
        ("HalfCheetah", ("bthigh", "fthigh"), "torso"),
        ("HalfCheetah", ("bthigh", "bfoot"), "limbs"),
        ("Hopper", ("thigh_joint", "foot_joint"), "limbs"),
        ("Walker2d", ("thigh_left_joint", "foot_left_joint"), "limbs"),
        ("Ant", ("hip_1", "hip_3"), "torso"),
        ("Ant", ("hip_2", "ankle_2"), "limbs"),
        ("Swimmer", ("motor1_rot", "motor2_rot"), "limbs"),
    ],
)
def test_joints_are_where_the_parts_end(env, joints, of):
    body = Body.parse(f"{env}:limbs=0.8:torso=1.25")
    apart = [
        np.subtract(*(at_rest(model).joint(joint).xanchor for joint in joints))
        for model in (body_env(body.name).model, ORIGINALS[env].model)
    ]
    assert np.allclose(apart[0], apart[1] * body.value(of))


def test_masses_follow_from_the_geometry():
    def mass(length, radius, density=1000):
        return density * np.pi * radius**2 * (length + 4 / 3 * radius)

    hopper = body_env("Hopper:limbs=1.5:torso=0.5").model
    assert hopper.body("torso").mass[0] == pytest.approx(mass(0.2, 0.05))
    assert hopper.body("thigh").mass[0] == pytest.approx(mass(0.675, 0.05))
    assert body_env("HalfCheetah:segments=3:torso=2").model.body_mass.sum() == pytest.approx(14)  # its settotalmass


@pytest.mark.parametrize("name", OTHERS)
def test_stands_as_high_above_the_floor_as_the_original(name):
    env, original = body_env(name), ORIGINALS[Body.parse(name).env]
    low, old_low = stance(env.model)[1], stance(original.model)[1]
    assert low == pytest.approx(old_low, abs=1e-9)
    assert lifts_torso(env.model)
    floor = env.model.geom_pos[0, 2]
    assert lowest(env.model, at_rest(env.model)) >= floor - 1e-9


@pytest.mark.parametrize("name", [name for name in OTHERS if Body.parse(name).env in WITH_HEIGHT_LIMITS])
def test_limits_of_height_grow_with_the_body(name):
    env, original = body_env(name), ORIGINALS[Body.parse(name).env]
    env.reset(seed=0)
    assert env.is_healthy
    (height, low), (old_height, old_low) = stance(env.model), stance(original.model)
    growth = (height - low) / (old_height - old_low)
    assert np.allclose(env._healthy_z_range, np.multiply(original._healthy_z_range, growth))


def test_other_bodies_have_no_limits_of_height():
    limited = {env for env, original in ORIGINALS.items() if hasattr(original, "_healthy_z_range")}
    assert limited == WITH_HEIGHT_LIMITS


@pytest.mark.parametrize(
    ("name", "sizes"),
    [(f"HalfCheetah:segments={n}", (17 + 2 * (n - 1), 6 + n - 1)) for n in (2, 3, 6)]
    + [(f"Ant:legs={n}", (17 + 22 * n, 2 * n)) for n in (3, 6, 12)]
    + [(f"Swimmer:links={n}", (2 + 2 * n, n - 1)) for n in (2, 4, 12)],
)
def test_sizes_follow_from_the_parts(name, sizes):
    assert env_entry(name).sizes == sizes


def test_a_trunk_in_segments_is_the_trunk():
    model, original = body_env("HalfCheetah:segments=4").model, ORIGINALS["HalfCheetah"].model
    data, old = at_rest(model), at_rest(original)
    spine = [data.joint(f"spine_{i}").xanchor[0] for i in (2, 3, 4)]
    assert np.allclose(spine, [0.25, 0, -0.25])
    names = {"fthigh": "fthigh", "ffoot": "ffoot", "bthigh_rear": "bthigh", "bfoot_rear": "bfoot"}
    for joint, its in names.items():
        assert np.allclose(data.joint(joint).xanchor, old.joint(its).xanchor)
    assert np.allclose(data.geom("head").xpos, old.geom("head").xpos)


def test_legs_stand_evenly_and_alike():
    env = body_env("Ant:legs=6")
    hips = [at_rest(env.model).joint(f"hip_1_{i}").xanchor[:2] for i in range(1, 7)]
    angles = np.degrees(np.arctan2(*np.transpose(hips)[::-1])) % 360
    assert np.allclose(angles, [30, 90, 150, 210, 270, 330])
    masses = env.model.body_mass[2:].reshape(6, 3)  # three parts of a leg
    assert np.allclose(masses, ORIGINALS["Ant"].model.body_mass[2:5])

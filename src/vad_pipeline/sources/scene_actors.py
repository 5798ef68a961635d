"""The moving things of the built-in scenes, drawn as small antialiased sprites: people, vehicles, smoke.

Positions are in reference pixels, the pixels of a picture 128 high (x to the right, y down, y is where the feet touch
the ground); bodies are in metres (forward, up) around the feet. A pinhole camera ``CAMERA_HEIGHT`` metres above the
ground ties the two: something standing at y shows ``metre_at(y)`` reference pixels per metre.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vad_pipeline.sources.scene_picture import Canvas, Colour, Point, Sprite, metre_at

PUFFS_PER_SECOND = 12.0
PUFF_LIFE = 3.2  # seconds

WALK = ""
CART = "appearance/cart"
SMOKE = "appearance/smoke"
RUNNER = "motion/runner"
FALL = "motion/fall"
AGAINST_FLOW = "motion/against_flow"
CYCLIST = "both/cyclist"
SKATEBOARDER = "both/skateboarder"
KINDS = (CART, RUNNER, CYCLIST, SMOKE, FALL, SKATEBOARDER, AGAINST_FLOW)

SKINS: tuple[Colour, ...] = ((236, 196, 168), (214, 166, 132), (168, 118, 86), (112, 76, 56))
HAIRS: tuple[Colour, ...] = ((38, 30, 26), (84, 58, 36), (150, 112, 60), (128, 124, 120))
TOPS: tuple[Colour, ...] = (
    (206, 52, 48), (38, 84, 160), (236, 232, 222), (34, 36, 42), (232, 176, 48), (48, 122, 84),
    (120, 64, 132), (226, 120, 52), (96, 150, 190), (84, 88, 96), (196, 128, 150), (70, 46, 40),
)  # fmt: skip
TROUSERS: tuple[Colour, ...] = (
    (38, 46, 74), (30, 30, 34), (72, 78, 92), (196, 182, 150), (92, 72, 54), (58, 84, 128), (224, 220, 210),
)  # fmt: skip


@dataclass(frozen=True)
class Look:
    """What a person and what they ride look like; ``height`` in metres, ``stride`` is the phase at entry in radians."""

    height: float
    build: float
    stride: float
    skin: Colour
    hair: Colour
    top: Colour
    trousers: Colour
    shoes: Colour
    paint: Colour
    backpack: bool
    coat: bool


def random_look(rng: np.random.Generator) -> Look:
    """A random passer-by."""

    def one_of(colours: tuple[Colour, ...], jitter: int = 12) -> Colour:
        base = colours[int(rng.integers(len(colours)))]
        r, g, b = (min(255, max(0, channel + int(rng.integers(-jitter, jitter + 1)))) for channel in base)
        return r, g, b

    return Look(
        height=float(np.clip(rng.normal(1.73, 0.08), 1.5, 1.95)),
        build=float(rng.uniform(0.9, 1.2)),
        stride=float(rng.uniform(0, 2 * math.pi)),
        skin=one_of(SKINS, 6),
        hair=one_of(HAIRS, 6),
        top=one_of(TOPS),
        trousers=one_of(TROUSERS),
        shoes=one_of(((40, 34, 32), (220, 218, 214), (96, 60, 40))),
        paint=one_of(((226, 222, 210), (230, 150, 40), (60, 130, 170), (190, 60, 50))),
        backpack=bool(rng.random() < 0.3),
        coat=bool(rng.random() < 0.3),
    )


@dataclass(frozen=True)
class Actor:
    """Something that moves through a clip on a straight track.

    Attributes:
        kind: one of ``KINDS``, or "" for a normal walker.
        look: appearance.
        enters: second at which it starts from ``x``.
        leaves: second after which nothing of it is in the picture.
        x: reference pixels, position at ``enters``.
        y: reference pixels, where it touches the ground.
        speed: reference pixels per second, positive to the right.
        event: for a fall, the seconds from tripping to being up again; for smoke, from being lit to being put out.
    """

    kind: str
    look: Look
    enters: float
    leaves: float
    x: float
    y: float
    speed: float
    event: tuple[float, float] = (math.inf, math.inf)

    def distance(self, second: float) -> float:
        """Reference pixels travelled since ``enters``; whoever falls stays where they fell until they are up."""
        down, up = self.event if self.kind == FALL else (math.inf, math.inf)
        lost = min(max(second - down, 0.0), up - down) if math.isfinite(down) else 0.0
        return abs(self.speed) * (second - self.enters - lost)

    def position(self, second: float) -> float:
        """x at that second, reference pixels."""
        return self.x + math.copysign(self.distance(second), self.speed)


@dataclass
class _Pose:
    """Joint angles in radians, 0 hanging straight down, positive forward; two entries: the far and the near limb."""

    thighs: tuple[float, float]
    knees: tuple[float, float]
    arms: tuple[float, float]
    elbows: tuple[float, float]
    lean: float
    hip: Point | None = None  # None: as low as the lower foot touching the ground asks for
    lift: float = 0.0


def _walking(phase: float) -> _Pose:
    swing, back = math.sin(phase), math.cos(phase + 0.4)
    return _Pose(
        thighs=(0.06 + 0.44 * swing, 0.06 - 0.44 * swing),
        knees=(0.1 + 0.85 * max(0.0, back), 0.1 + 0.85 * max(0.0, -back)),
        arms=(-0.5 * swing, 0.5 * swing),
        elbows=(0.25 - 0.2 * swing, 0.25 + 0.2 * swing),
        lean=0.04,
    )


def _running(phase: float) -> _Pose:
    swing, back = math.sin(phase), math.cos(phase + 0.3)
    return _Pose(
        thighs=(0.25 + 0.85 * swing, 0.25 - 0.85 * swing),
        knees=(0.3 + 1.6 * max(0.0, back), 0.3 + 1.6 * max(0.0, -back)),
        arms=(-0.95 * swing - 0.2, 0.95 * swing - 0.2),
        elbows=(1.6, 1.6),
        lean=0.24,
        lift=0.14 * max(0.0, abs(swing) - 0.4),
    )


def _lying(pose: _Pose, share: float) -> _Pose:
    """Blends a walking pose into that of someone lying on their front, arms thrown forward."""

    def toward(values: tuple[float, float], goal: tuple[float, float]) -> tuple[float, float]:
        return (
            values[0] + share * (goal[0] - values[0]),
            values[1] + share * (goal[1] - values[1]),
        )

    return _Pose(
        thighs=toward(pose.thighs, (0.1, 0.5)),
        knees=toward(pose.knees, (0.15, 1.0)),
        arms=toward(pose.arms, (2.6, 1.3)),
        elbows=toward(pose.elbows, (0.4, 0.9)),
        lean=pose.lean,
    )


@lru_cache(maxsize=4096)
def _shade(colour: Colour, factor: float) -> Colour:
    r, g, b = colour
    return min(255, int(r * factor)), min(255, int(g * factor)), min(255, int(b * factor))


def _from(start: Point, angle: float, length: float) -> Point:
    return start[0] + math.sin(angle) * length, start[1] - math.cos(angle) * length


def _draw_person(canvas: Canvas, look: Look, pose: _Pose) -> None:
    size, build = look.height, look.build
    upper, lower = 0.245 * size, 0.25 * size
    (far, near), (far_knee, near_knee) = pose.thighs, pose.knees
    drop = max(
        upper * math.cos(far) + lower * math.cos(far - far_knee),
        upper * math.cos(near) + lower * math.cos(near - near_knee),
    )
    hip = pose.hip or (0.0, drop + 0.045 + pose.lift)
    shoulder = _from(hip, math.pi - pose.lean, 0.30 * size)
    neck, head = (_from(shoulder, math.pi - pose.lean * 0.6, share * size) for share in (0.04, 0.125))

    def leg(side: int, shade: float) -> None:
        thigh, knee = pose.thighs[side], pose.knees[side]
        joint = _from(hip, thigh, upper)
        ankle = _from(joint, thigh - knee, lower)
        toe = _from(ankle, thigh - knee + 1.35, 0.15)
        canvas.limb(ankle, toe, 0.085, _shade(look.shoes, shade))
        canvas.limb(hip, joint, 0.165 * build, _shade(look.trousers, shade))
        canvas.limb(joint, ankle, 0.115 * build, _shade(look.trousers, shade))

    def arm(side: int, shade: float) -> None:
        elbow = _from(shoulder, pose.arms[side], 0.17 * size)
        hand = _from(elbow, pose.arms[side] + pose.elbows[side], 0.15 * size)
        canvas.limb(elbow, hand, 0.08, _shade(look.skin, shade))
        canvas.limb(shoulder, elbow, 0.1 * build, _shade(look.top, shade))

    arm(0, 0.66)
    leg(0, 0.66)
    leg(1, 1.0)
    if look.backpack:
        centre = _from(shoulder, -0.25, 0.15 * size)
        canvas.limb((centre[0] - 0.12, centre[1] + 0.1), (centre[0] - 0.12, centre[1] - 0.12), 0.22, look.paint)
    waist = _from(hip, math.pi - pose.lean, 0.05)
    if look.coat:
        hem = _from(hip, 0.4 * (pose.thighs[0] + pose.thighs[1]), 0.16 * size)
        canvas.limb(shoulder, hem, 0.27 * build, _shade(look.top, 0.85))
    canvas.limb(shoulder, waist, 0.26 * build, look.top)
    # The sun is on the left and above: the lit side of the torso is what gives it volume.
    canvas.limb(
        (shoulder[0] - 0.02, shoulder[1] + 0.02), _from(shoulder, -pose.lean, 0.16 * size), 0.12, _shade(look.top, 1.16)
    )
    canvas.limb(shoulder, neck, 0.1, _shade(look.skin, 0.85))
    canvas.disc(head, 0.068 * size, look.skin)
    canvas.limb((head[0] - 0.035, head[1] + 0.05), (head[0] + 0.02, head[1] + 0.075), 0.13, look.hair)
    arm(1, 0.9)


def _draw_skateboarder(canvas: Canvas, actor: Actor, metres: float) -> None:
    sway = 0.12 * math.sin(metres * 0.9 + actor.look.stride)
    board = 0.13
    canvas.limb((-0.46, board + 0.05), (-0.3, board), 0.07, (54, 40, 34))
    canvas.limb((-0.3, board), (0.3, board), 0.07, (54, 40, 34))
    canvas.limb((0.3, board), (0.46, board + 0.05), 0.07, (54, 40, 34))
    for wheel in (-0.27, 0.27):
        canvas.disc((wheel, 0.06), 0.065, (232, 226, 210))
    size = actor.look.height
    hip = (-0.04 + 0.3 * sway, board + 0.05 + 0.40 * size)
    pose = _Pose((0.75, -0.15), (0.75, 0.55), (1.25 + sway, -1.15 + sway), (0.2, -0.2), 0.18 + sway, hip)
    _draw_person(canvas, actor.look, pose)


def _draw_cyclist(canvas: Canvas, actor: Actor, metres: float) -> None:
    look, radius = actor.look, 0.34
    back, front, crank = (-0.52, radius), (0.55, radius), (-0.05, 0.30)
    seat, bars = (-0.25, 0.94), (0.40, 1.02)
    for hub in (back, front):
        canvas.ring(hub, radius, 0.055, (30, 30, 32))
        for spoke in range(3):
            angle = spoke * math.pi / 3 + metres / radius
            tip = (math.sin(angle) * radius, math.cos(angle) * radius)
            canvas.limb((hub[0] - tip[0], hub[1] - tip[1]), (hub[0] + tip[0], hub[1] + tip[1]), 0.012, (120, 122, 124))
    for a, b in ((back, crank), (back, seat), (crank, seat), (crank, bars), (seat, bars), (bars, front)):
        canvas.limb(a, b, 0.05, look.paint)
    hip = (seat[0] + 0.02, seat[1] + 0.08)
    turn = metres * 1.6 + look.stride
    upper, lower = 0.245 * look.height, 0.25 * look.height
    thighs, knees = [], []
    for angle in (turn, turn + math.pi):
        # Two-link inverse kinematics: the foot stays on its pedal, the knee points forward.
        x, z = crank[0] + 0.17 * math.sin(angle) - hip[0], crank[1] + 0.17 * math.cos(angle) + 0.06 - hip[1]
        reach = min(math.hypot(x, z), 0.999 * (upper + lower))
        knee = math.pi - math.acos((upper**2 + lower**2 - reach**2) / (2 * upper * lower))
        inner = math.acos((upper**2 + reach**2 - lower**2) / (2 * upper * reach))
        thighs.append(math.atan2(x, -z) + inner)
        knees.append(knee)
    pose = _Pose((thighs[0], thighs[1]), (knees[0], knees[1]), (0.75, 0.75), (0.25, 0.25), 0.62, hip)
    _draw_person(canvas, look, pose)


def _draw_cart(canvas: Canvas, actor: Actor, metres: float) -> None:
    look, dark = actor.look, (46, 48, 52)
    canvas.limb((-0.3, 1.0), (-0.28, 1.32), 0.3, look.top)  # the driver, seated
    canvas.disc((-0.24, 1.55), 0.115, look.skin)
    canvas.limb((-0.3, 1.62), (-0.22, 1.64), 0.13, look.hair)
    canvas.limb((-0.26, 1.3), (0.22, 1.08), 0.09, _shade(look.top, 0.85))
    for post in ((-0.62, -0.62), (0.42, 0.30)):
        canvas.limb((post[0], 0.8), (post[1], 1.86), 0.05, dark)
    canvas.shape([(-0.85, 1.84), (0.52, 1.84), (0.48, 1.94), (-0.80, 1.94)], _shade(look.paint, 0.92))
    canvas.shape([(-1.35, 0.30), (1.15, 0.30), (1.15, 0.62), (0.42, 0.90), (-1.35, 0.90)], look.paint)
    canvas.shape([(-1.35, 0.30), (1.15, 0.30), (1.15, 0.44), (-1.35, 0.44)], _shade(look.paint, 0.62))
    canvas.shape([(-0.55, 0.55), (0.25, 0.55), (0.25, 0.92), (-0.55, 0.92)], _shade(look.paint, 0.45))
    canvas.shape([(-1.40, 0.86), (-0.68, 0.86), (-0.68, 1.36), (-1.40, 1.36)], (176, 134, 84))
    canvas.shape([(-1.40, 1.08), (-0.68, 1.08), (-0.68, 1.14), (-1.40, 1.14)], (138, 100, 62))
    for wheel in (-0.86, 0.72):
        canvas.disc((wheel, 0.26), 0.27, (28, 28, 30))
        canvas.disc((wheel, 0.26), 0.12, (170, 172, 176))
        angle = metres / 0.27
        canvas.limb((wheel, 0.26), (wheel + 0.12 * math.sin(angle), 0.26 + 0.12 * math.cos(angle)), 0.04, dark)


def _draw_walker(canvas: Canvas, actor: Actor, metres: float) -> None:
    # A full cycle is two steps; longer legs make longer steps.
    _draw_person(canvas, actor.look, _walking(actor.look.stride + 2 * math.pi * metres / (0.82 * actor.look.height)))


def _draw_runner(canvas: Canvas, actor: Actor, metres: float) -> None:
    _draw_person(canvas, actor.look, _running(actor.look.stride + 2 * math.pi * metres / (1.35 * actor.look.height)))


@dataclass(frozen=True)
class Build:
    """How a kind is drawn and the room it needs: half length and height in metres, speeds in metres per second."""

    draw: Callable[[Canvas, Actor, float], None]
    reach: float
    top: float
    speeds: tuple[float, float]


BUILDS = {
    WALK: Build(_draw_walker, 0.62, 2.05, (0.9, 1.6)),
    AGAINST_FLOW: Build(_draw_walker, 0.62, 2.05, (1.1, 1.6)),
    FALL: Build(_draw_walker, 0.62, 2.05, (1.1, 1.5)),
    RUNNER: Build(_draw_runner, 0.95, 2.1, (2.8, 3.3)),
    SKATEBOARDER: Build(_draw_skateboarder, 0.85, 2.25, (2.5, 3.1)),
    CYCLIST: Build(_draw_cyclist, 1.0, 2.1, (3.5, 4.2)),
    CART: Build(_draw_cart, 1.5, 2.05, (1.1, 1.5)),
}


def how_far_fallen(actor: Actor, second: float) -> float:
    """0 upright to 1 lying: down within 0.7 s, up again within the last 1.4 s of the event."""
    down, up = actor.event
    if actor.kind != FALL or not down <= second < up:
        return 0.0
    falling, rising = min(1.0, (second - down) / 0.7), min(1.0, (up - second) / 1.4)
    share = min(falling**2, rising * rising * (3 - 2 * rising))
    return max(share, 0.02)


def _smoke(actor: Actor, second: float, unit: float) -> Sprite | None:
    """A plume: puffs leave the ground at a steady rate, rise, grow, drift with the wind and thin out."""
    lit, out = actor.event
    first = max(math.ceil((second - PUFF_LIFE) * PUFFS_PER_SECOND), math.ceil(lit * PUFFS_PER_SECOND))
    last = math.floor(min(second, out) * PUFFS_PER_SECOND)
    if last < first:
        return None
    number = np.arange(first, last + 1)
    age = second - number / PUFFS_PER_SECOND
    # Multiples of the golden ratio are evenly spread yet patternless: a random number per puff without a generator.
    chance = np.modf(np.abs(number) * 0.6180339887)[0] * 2 - 1
    other = np.modf(np.abs(number) * 0.7548776662)[0] * 2 - 1
    metre = metre_at(actor.y) * unit
    wind = 0.22 * math.cos(actor.look.stride)
    x = actor.x * unit + metre * (chance * (0.07 + 0.20 * age) + wind * age + 0.06 * np.sin(2 * age + other * 3))
    y = actor.y * unit - metre * (0.12 + 0.58 * age + 0.14 * other * age)
    radius = metre * (0.11 + 0.12 * age)
    thickness = 0.85 * np.minimum(1.0, age / 0.3) * (1 - age / PUFF_LIFE)
    left, right = math.floor(float(np.min(x - 2.5 * radius))), math.ceil(float(np.max(x + 2.5 * radius)))
    top, bottom = math.floor(float(np.min(y - 2.5 * radius))), math.ceil(float(np.max(y + 2.5 * radius)))
    across = np.exp(-(((np.arange(left, right)[:, None] - x) / radius) ** 2)) * thickness
    along = np.exp(-(((np.arange(top, bottom)[:, None] - y) / radius) ** 2))
    # Gaussians are separable: all puffs add up in one small matrix product. Beer-Lambert turns depth into opacity.
    alpha = (1 - np.exp(-along @ across.T)).astype(np.float32)
    light = (along @ (across * (1 + 0.4 * other)).T) / (along @ across.T + 1e-6)
    tone = np.asarray(_shade((188, 188, 192), 1.1 if actor.look.coat else 0.62), dtype=np.float32)
    rgb = alpha[..., None] * tone * np.clip(light, 0.6, 1.4).astype(np.float32)[..., None]
    return Sprite(left, top, actor.y * unit - top, np.minimum(rgb, 255), alpha)


def sprite_of(actor: Actor, second: float, unit: float) -> Sprite | None:
    """The actor at that second.

    Args:
        actor: who.
        second: when, from the first frame of the clip.
        unit: frame pixels per reference pixel, frame height / 128.

    Returns:
        The sprite, or None where there is nothing to see.
    """
    if actor.kind == SMOKE:
        return _smoke(actor, second, unit)
    build = BUILDS[actor.kind]
    metre = metre_at(actor.y)
    direction = 1 if actor.speed > 0 else -1
    travelled = actor.distance(second) / metre
    fallen = how_far_fallen(actor, second)
    x, y = actor.position(second) * unit, actor.y * unit
    if fallen == 0.0:
        canvas = Canvas(x, y, metre * unit, direction, build.reach, build.top)
        build.draw(canvas, actor, travelled)
        return canvas.sprite()
    # Whoever lies is as thick as a body: the tilt about the feet stops just short of a right angle.
    canvas = Canvas(x, y, metre * unit, direction, 2.3, build.top, tilt=1.47 * fallen)
    phase = actor.look.stride + 2 * math.pi * travelled / (0.82 * actor.look.height)
    _draw_person(canvas, actor.look, _lying(_walking(phase), fallen))
    return canvas.sprite()

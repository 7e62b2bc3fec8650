"""Persistent homology of clouds of points: Betti numbers, and the shape that they name."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from mechgrok.errors import UserError

#: The Betti numbers b₀, b₁ and b₂ of the shapes in question.
SHAPES = {
    "disc": (1, 0, 0),
    "circle": (1, 1, 0),
    "torus": (1, 2, 1),
    "sphere": (1, 0, 1),
}


#: The gap, in radii, that separates components: landmarks of a noisy cloud lie apart themselves.
_APART = 1.0


class Homology(NamedTuple):
    """The long-lived holes of a cloud, in units of its radius (root mean square from the mean).

    Attributes:
        gap: the largest persistence that separates two components.
        loops: the persistences of the three longest-lived loops, falling.
        voids: the persistences of the two longest-lived voids, falling.
    """

    gap: float
    loops: tuple[float, float, float]
    voids: tuple[float, float]

    @classmethod
    def of(cls, points: Float[np.ndarray, "point d"], landmarks: int = 150) -> "Homology":
        """The persistent homology of the Vietoris–Rips complex of a cloud's landmarks.

        Landmarks are chosen one after another, each the farthest from those before it. NaN for a
        cloud without extent.

        Args:
            points: the cloud.
            landmarks: the most landmarks.

        Source: gudhi (Maria et al. 2014), with coefficients modulo 11.

        Raises:
            UserError: gudhi is not installed.

        >>> angle = 2 * np.pi * np.arange(40) / 40
        >>> homology = Homology.of(np.stack([np.cos(angle), np.sin(angle)], 1))
        >>> homology.shape(0.5), round(homology.loops[0], 1), homology.loops[1]
        ('circle', 1.6, 0.0)
        """
        rips, farthest = _gudhi()
        points = points - points.mean(0)
        radius = np.sqrt(np.square(points).sum(1).mean())
        if not radius > 0 or np.ptp(points, axis=0).max() < 1e-6 * np.abs(points).max():
            return cls(np.nan, (np.nan,) * 3, (np.nan,) * 2)
        chosen = np.array(farthest(points=points / radius, nb_points=landmarks, starting_point=0))
        # Equal points would only add classes that live for no time.
        chosen = np.unique(chosen.round(9), axis=0)
        diagrams = rips(homology_dimensions=[0, 1, 2]).fit_transform([chosen])[0]
        gaps, loops, voids = (_longest(diagram, 3) for diagram in diagrams)
        return cls(gaps[0], (loops[0], loops[1], loops[2]), (voids[0], voids[1]))

    def betti(self, threshold: float) -> tuple[int, int, int]:
        """The numbers of components (1, or 2 for more), and of loops and voids above a threshold.

        Components are apart if the gap between them is above one radius.
        """
        return (
            1 + int(self.gap > _APART),
            sum(loop > threshold for loop in self.loops),
            sum(void > threshold for void in self.voids),
        )

    def shape(self, threshold: float) -> str:
        """The shape with these Betti numbers, or the numbers; "none" without extent.

        Whatever has no holes is a "disc", of any dimension.
        """
        if not np.isfinite(self.gap):
            return "none"
        betti = self.betti(threshold)
        return next((name for name, numbers in SHAPES.items() if numbers == betti), str(betti))


def _longest(diagram: Float[np.ndarray, "class 2"], count: int) -> list[float]:
    """The longest finite lives in a persistence diagram, falling, filled up with zeros."""
    lives = np.diff(diagram, axis=1)[:, 0] if len(diagram) else np.zeros(0)
    lives = np.sort(lives[np.isfinite(lives)])[::-1][:count]
    return [*lives.tolist(), *[0.0] * (count - len(lives))]


def _gudhi() -> tuple[Any, Any]:
    try:
        from gudhi.sklearn.rips_persistence import RipsPersistence
        from gudhi.subsampling import choose_n_farthest_points
    except ImportError:
        raise UserError(
            "Persistent homology needs gudhi: pip install 'mechgrok[homology]'."
        ) from None
    return RipsPersistence, choose_n_farthest_points

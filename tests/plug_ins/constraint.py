"""A constraint in one file: Kronecker products of templates that are drawn twice as large."""

from weit_rl.core.constraints.kronecker import Kronecker


class Larger(Kronecker):
    """Kronecker products with larger templates."""

    def shared(self, rank, tile, std, generator):
        return super().shared(rank, tile, 2 * std, generator)


MEMBER = Larger()

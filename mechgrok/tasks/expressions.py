"""Polynomials in two residues: a small language that is parsed, never executed.

    expression = ["+" | "-"] term {("+" | "-") term}
    term       = factor {["*"] factor}
    factor     = number | ("x" | "y") ["^" number]

Examples: ``x^3 + x*y``, ``2x^2 - 3xy + 1``, ``x³ + xy``; ``**`` means ``^``.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import Field

from mechgrok.errors import UserError
from mechgrok.tasks.modular import ModularArithmetic
from mechgrok.tasks.operations import Operation

if TYPE_CHECKING:
    from jaxtyping import Integer
    from torch import Tensor

#: Coefficients by the powers of x and of y.
Polynomial = dict[tuple[int, int], int]

#: Limits on the length of an expression and on its powers.
_LONGEST, _HIGHEST = 1000, 1000
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_TOKEN = re.compile(r"\s*(?:(?P<number>[0-9]+)|(?P<letter>[xy])|(?P<sign>\^|\*\*|[-+*]))")


def parse(text: str) -> Polynomial:
    """Parse an expression.

    >>> parse("x^3 + x*y - 2y")
    {(3, 0): 1, (1, 1): 1, (0, 1): -2}

    Raises:
        UserError: it is not a polynomial in x and y; the message shows where it fails.
    """
    if len(text) > _LONGEST:
        raise UserError(f"An expression of {len(text):,} letters is too long: use {_LONGEST}.")
    # x³ is x^3.
    plain = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda match: f"^{match[0].translate(_RAISED)}", text)
    parser = _Parser(text, _tokens(plain, text))
    coefficients: Polynomial = {}
    sign = -1 if parser.take("+", "-") == "-" else 1
    while True:
        powers, coefficient = parser.term()
        coefficients[powers] = coefficients.get(powers, 0) + sign * coefficient
        if (operator := parser.take("+", "-")) is None:
            break
        sign = -1 if operator == "-" else 1
    parser.expect_end()
    return {powers: number for powers, number in coefficients.items() if number} or {(0, 0): 0}


def _tokens(plain: str, text: str) -> list[str]:
    tokens, position = [], 0
    while plain[position:].strip():
        match = _TOKEN.match(plain, position)
        if match is None:
            raise _not_a_polynomial(text, plain[position:].strip()[:20])
        tokens.append(match[0].strip().replace("**", "^"))
        position = match.end()
    return tokens


def _not_a_polynomial(text: str, rest: str) -> UserError:
    position = f"at {rest!r}" if rest else "at its end"
    return UserError(
        f"{text!r} is not a polynomial in x and y ({position}): write it as x^3 + x*y, with whole "
        "numbers, +, -, * and ^."
    )


class _Parser:
    """Parses an expression's tokens in order."""

    def __init__(self, text: str, tokens: list[str]) -> None:
        self.text, self.tokens = text, tokens

    def take(self, *expected: str) -> str | None:
        """Consume the next token if it is an expected one."""
        return self.tokens.pop(0) if self.tokens and self.tokens[0] in expected else None

    def term(self) -> tuple[tuple[int, int], int]:
        """The powers of x and y in a product, and its coefficient."""
        x, y, coefficient = self._factor()
        while self.tokens and self.tokens[0] not in "+-":
            self.take("*")
            more_x, more_y, number = self._factor()
            x, y, coefficient = x + more_x, y + more_y, coefficient * number
        if x + y > _HIGHEST:
            raise UserError(f"{self.text!r} has a power above {_HIGHEST}: use a lower one.")
        return (x, y), coefficient

    def _factor(self) -> tuple[int, int, int]:
        token = self.tokens.pop(0) if self.tokens else ""
        if token.isdecimal():
            return 0, 0, int(token)
        if token not in ("x", "y"):
            raise _not_a_polynomial(self.text, "".join([token, *self.tokens])[:20])
        power = 1
        if self.take("^"):
            number = self.tokens.pop(0) if self.tokens else ""
            if not number.isdecimal():
                raise _not_a_polynomial(self.text, "".join([number, *self.tokens])[:20])
            power = min(int(number[:9]), 10**6)
        return (power, 0, 1) if token == "x" else (0, power, 1)

    def expect_end(self) -> None:
        if self.tokens:
            raise _not_a_polynomial(self.text, "".join(self.tokens)[:20])


def value(
    polynomial: Polynomial, x: Integer[Tensor, "*n"], y: Integer[Tensor, "*n"], p: int
) -> Integer[Tensor, "*n"]:
    """The polynomial modulo p, with every product reduced to avoid overflow."""

    def power(base: Tensor, exponent: int) -> Tensor:
        result = base.new_ones(base.shape)
        for bit in bin(exponent)[2:]:
            result = result * result % p
            result = result * base % p if bit == "1" else result
        return result

    total = x.new_zeros(x.shape)
    for (i, j), coefficient in polynomial.items():
        total += coefficient % p * (power(x % p, i) * power(y % p, j) % p)
    return total % p


@cache
def operation(text: str) -> Operation:
    """The operation of an expression; commutative if symmetric in x and y."""
    polynomial = parse(text)
    mirrored = {(j, i): coefficient for (i, j), coefficient in polynomial.items()}
    commutative = mirrored == polynomial
    return Operation(
        lambda a, b, p: value(polynomial, a, b, p),
        text,
        commutative,
        "unordered" if commutative else "ordered",
    )


class ModularExpression(ModularArithmetic):
    """c = a polynomial in x and y mod p, such as x³ + xy, over pairs of residues.

    If no term has both x and y, c is the sum of a function of x and one of y, and analyses of
    frequencies apply as for x2+y2. A term such as xy mixes x and y, so that no wave of an operand
    is a wave of the answer, and those analyses do not apply.

    Source: the operations of Power et al. 2022 (arXiv 2201.02177), including x³ + xy.
    """

    name: str = "expression"
    expression: str = Field(
        default="x^3 + x*y", description="A polynomial in x and y (expression)."
    )

    @classmethod
    def operation_of(cls, fields: dict[str, Any]) -> Operation:
        text = fields.get("expression", cls.model_fields["expression"].default)
        if not isinstance(text, str):
            raise UserError(f"An expression must be text such as x^3 + x*y, not {text!r}.")
        return operation(text)

    @property
    def modular(self) -> bool:  # type: ignore[override]
        """Whether no term mixes x and y."""
        return not any(i and j for i, j in parse(self.expression))

    @property
    def why_not_modular(self) -> str:  # type: ignore[override]
        return "mixes x and y in one term, so its answers are not sums of waves of x and of y"

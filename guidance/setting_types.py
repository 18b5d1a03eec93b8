"""What the rows of a room's file are made of: strict rows, names, vectors and matrices."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$")]
Row = Annotated[tuple[float, ...], Field(min_length=4, max_length=4)]
Matrix44 = Annotated[tuple[Row, ...], Field(min_length=4, max_length=4)]
Vector3 = Annotated[tuple[float, ...], Field(min_length=3, max_length=3)]


class Strict(BaseModel):
    """A row in which an unknown key and a number that is none are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

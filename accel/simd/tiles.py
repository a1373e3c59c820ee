"""Layers -> tiles: one instruction for each sixteen output channels, and the loads that must come before it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from accel.simd.allocate import Place, allocate, groups
from accel.simd.fuse import Layer
from accel.simd.graph import CompileError, Network, Table
from accel.simd.isa import Function, Mode, Sink
from accel.simd.lanes import Scale, pack_entries
from accel.simd.sizes import BRANCH, FUNCTION, IMAGE, LANES, MAIN, MATRIX, RESIDUAL, SETS, WORD, Build


@dataclass
class Load:
    """Words that must be in words `place` to `place + size - 1` of a sink from tile `tile` to tile `last`."""

    sink: Sink
    data: bytes
    tile: int
    last: int
    place: int
    size: int
    fields: Mapping[str, int]
    after: int = 0  # the last tile that uses the place before; below 0: in the image before, counted from its end

    @property
    def words(self) -> int:
        return len(self.data) // WORD


@dataclass
class Tile:
    """A TILE instruction's fields and the weights behind it."""

    layer: str
    fields: dict[str, int]
    weights: bytes = b""  # 16 bytes an input channel: its weights for the 16 outputs

    @property
    def mode(self) -> Mode:
        return Mode(self.fields["mode"])


@dataclass(frozen=True)
class Plan:
    """All tiles of an image, the loads in the order in which tiles need them, and where tensors lie."""

    tiles: Sequence[Tile]
    loads: Sequence[Load]
    places: Mapping[str, Place]
    complete: Mapping[str, int]  # tensor -> the tile after which it is complete
    logits: int


class _Ring:
    """Places in a memory, given out one after the other, around and around."""

    def __init__(self, size: int, align: int) -> None:
        self.size, self.align, self.next = size, align, 0

    def take(self, words: int) -> int:
        start = self.next if self.next + words <= self.size else 0
        self.next = -(-(start + words) // self.align) * self.align
        return start


def plan(network: Network, layers: Sequence[Layer], build: Build) -> Plan:
    """Tiles in order with addresses. CompileError names what the build has no room for."""
    return _Planner(network, layers, build).plan()


class _Planner:
    def __init__(self, network: Network, layers: Sequence[Layer], build: Build) -> None:
        self.network, self.layers, self.build = network, layers, build
        self.places = allocate(network, layers, build)
        self.tiles: list[Tile] = []
        self.tables, self.matrices = _Ring(build.table_words, 2), _Ring(build.matrix_words, 1)
        self.loads: list[Load] = []

    def plan(self) -> Plan:
        complete, logits = {}, 0
        for layer in self.layers:
            self._layer(layer)
            for name in layer.writes:
                complete[name] = len(self.tiles) - 1
            logits += layer.shape[1] if layer.logits else 0
        image = [tile for tile in self.tiles if tile.fields["stream_bank"] == IMAGE]
        if not image:
            raise CompileError(f"{self.network.image.name}: no layer multiplies the patches")
        image[0].fields["wait_image"] = 1
        if logits == 0:
            raise CompileError(f"the output '{self.network.output}' is the result of no layer")
        if logits > 1023:
            raise CompileError(f"{logits} logits; the engine sends at most 1023")
        self._order()
        return Plan(self.tiles, self.loads, self.places, complete, logits)

    def _layer(self, layer: Layer) -> None:
        rows, channels = layer.shape
        if rows > self.build.rows:
            raise CompileError(f"{layer.name}: {rows} tokens exceed this build's rows={self.build.rows}")
        first, last = len(self.tiles), len(self.tiles) + groups(channels) - 1
        matrix = 0
        if layer.mode is Mode.HELD:
            data = _matrix_bytes(layer)
            words = len(data) // WORD
            if words > self.build.matrix_words:
                raise CompileError(
                    f"{layer.name}: {words} words of weights along tokens exceed this build's matrix_words={self.build.matrix_words}"
                )
            matrix = self.matrices.take(words)
            self.loads.append(Load(Sink.MATRIX, data, first, last, matrix, words, {"address": matrix}))
        if layer.by_row:
            data = _entries(layer.main, 2 * -(-rows // 2), rows, multiply=False)
            self.loads.append(Load(Sink.ROWS, data, first, last, 0, len(data) // WORD, _limits(layer.main)))
        for group in range(groups(channels)):
            self._tile(layer, group, matrix)

    def _tile(self, layer: Layer, group: int, matrix: int) -> None:
        index, (rows, channels) = len(self.tiles), layer.shape
        x = self.places[layer.x]
        fields = {"mode": int(layer.mode), "rows": rows, "out_stride": groups(channels), "set": index % SETS}
        weights = b""
        if layer.mode is Mode.HELD:
            width = groups(self.network.shapes[layer.x][0])
            fields |= {"passes": width, "stream_bank": MATRIX, "stream_address": matrix, "stream_stride": width}
            fields |= {"held_bank": x.bank, "held_address": x.address + group, "held_stride": x.stride}
        else:
            copy = layer.mode is Mode.COPY
            fields |= {"passes": 1 if copy else x.stride, "stream_bank": x.bank, "stream_stride": x.stride}
            fields["stream_address"] = x.address + (group if copy else 0)
            weights = b"" if copy else _weight_bytes(layer, group)
        if fields["passes"] > 255 or fields["out_stride"] > 255 or x.stride > 255:
            raise CompileError(f"{layer.name}: {LANES * max(fields['passes'], fields['out_stride'])} channels; at most {LANES * 255}")
        self.tiles.append(Tile(layer.name, fields, weights))
        if layer.by_row:
            fields["row_parameters"] = 1
        else:
            self._lanes(MAIN, layer.main, group, channels, multiply=False)
        if layer.branch is not None:
            fields["branch_affine"] = 1
            self._lanes(BRANCH, layer.branch, group, channels)
        if layer.sum is not None and layer.residual is not None:
            self._residual(layer, fields, group, channels)
        if layer.raw is not None:
            fields |= {"raw": 1} | self._port("raw", layer.raw, group)
        if layer.function is not None:
            self._function(layer, fields, group, channels)
        if layer.logits:
            fields |= {"logits": min(LANES, channels - group * LANES), "wide": int(layer.wide)}

    def _port(self, name: str, tensor: str, group: int) -> dict[str, int]:
        place = self.places[tensor]
        return {f"{name}_bank": place.bank, f"{name}_address": place.address + group}

    def _residual(self, layer: Layer, fields: dict[str, int], group: int, channels: int) -> None:
        op = layer.sum
        if op is None or layer.residual is None:
            return
        lefts = (op.a_left, op.b_left) if layer.swapped else (op.b_left, op.a_left)
        fields |= {"residual": 1, "residual_left": lefts[0], "branch_left": lefts[1], "sum_shift": op.shift}
        fields |= {"sum_lo": op.lo, "sum_hi": op.hi, "sum_half_up": int(op.half_up)} | self._port("residual", layer.residual, group)
        if layer.residual_scale is not None:
            fields["residual_affine"] = 1
            self._lanes(RESIDUAL, layer.residual_scale, group, channels)

    def _function(self, layer: Layer, fields: dict[str, int], group: int, channels: int) -> None:
        function = layer.function
        if function is None:
            return
        fields |= self._port("function", function.output, group)
        if not isinstance(function, Table):
            fields["function"] = int(Function.AFFINE)
            self._lanes(FUNCTION, function.scale, group, channels)
            return
        words, index = function.table.shape[1], len(self.tiles) - 1
        if words > self.build.table_words:
            raise CompileError(f"{function.name}: {words} entries exceed this build's table_words={self.build.table_words}")
        address = self.tables.take(words)
        fields |= {"function": int(Function.TABLE), "table_address": address, "table_bits": function.bits}
        fields["table_half_up"] = int(function.half_up)
        columns = function.table[group * LANES : (group + 1) * LANES].T
        data = np.zeros((words, LANES), np.int8)
        data[:, : columns.shape[1]] = columns
        self.loads.append(Load(Sink.TABLE, data.tobytes(), index, index, address, words, {"address": address}))

    def _lanes(self, slot: int, scale: Scale, group: int, channels: int, multiply: bool = True) -> None:
        index = len(self.tiles) - 1
        data = _entries(scale, LANES, channels, group * LANES, multiply)
        fields = _limits(scale) | {"slot": slot, "set": index % SETS}
        self.loads.append(Load(Sink.LANES, data, index, index, slot * SETS + index % SETS, 1, fields))

    def _order(self) -> None:
        """Each load's `after`: the tile before its own that last used one of its words, around the end of the image."""
        for load in self.loads:
            users = [
                other.last - (0 if other.tile < load.tile else len(self.tiles))
                for other in self.loads
                if other.sink is load.sink and other.place < load.place + load.size and load.place < other.place + other.size
            ]
            load.after = max(users)


def _limits(scale: Scale) -> dict[str, int]:
    return {"lo": scale.lo, "hi": scale.hi, "half_up": int(scale.half_up)}


def _entries(scale: Scale, count: int, total: int, start: int = 0, multiply: bool = True) -> bytes:
    """Parameters `start` to `start + count - 1` of `total`, as memory holds them; behind the end they are 0."""
    columns = []
    for values in (scale.mult, scale.bias, scale.shift):
        whole = np.zeros(start + count, np.int64)
        whole[:total] = np.broadcast_to(values, (total,))[: start + count]
        columns.append(whole[start:])
    mult, bias, shift = columns
    return pack_entries(mult if multiply else 0 * mult, bias, shift)


def _matrix_bytes(layer: Layer) -> bytes:
    """weight [U, T] -> U rows of whole words, zeros behind T."""
    weight = layer.weight if layer.weight is not None else np.zeros((0, 0), np.int8)
    padded = np.zeros((len(weight), groups(weight.shape[1]) * LANES), np.int8)
    padded[:, : weight.shape[1]] = weight
    return padded.tobytes()


def _weight_bytes(layer: Layer, group: int) -> bytes:
    """weight [K, M] -> K words, rounded up to whole groups: channel k's weights for outputs 16 * group to 16 * group + 15."""
    weight = layer.weight if layer.weight is not None else np.zeros((0, 0), np.int8)
    part = weight[:, group * LANES : (group + 1) * LANES]
    padded = np.zeros((groups(len(weight)) * LANES, LANES), np.int8)
    padded[: len(weight), : part.shape[1]] = part
    return padded.tobytes()

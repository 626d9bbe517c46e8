"""component.xml: the core as a component of IP-XACT (IEEE 1685-2009), with bus types of Vivado's catalog."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

from peakrdl_ipxact import IPXACTExporter, Standard

from gradcam.core.register_map import address_map
from gradcam.package.sources import LIBRARY, VENDOR, memory_files, period, rtl_files, version
from gradcam.package.text import exported
from gradcam.schema.program import Core, Port, Program

SPIRIT = "http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009"

#: Bytes of the address space of the registers, by the width of the address port.
PAGE = 4096


@dataclass(frozen=True)
class Bus:
    """An interface of the core.

    Attributes:
        name: of the interface.
        kind: the bus type in Vivado's catalog, as library and name.
        mode: "master" or "slave".
        ports: by their names in the bus type.
        parameters: of the interface.
    """

    name: str
    kind: tuple[str, str]
    mode: str
    ports: dict[str, str]
    parameters: dict[str, str]


def component(program: Program) -> str:
    """The text of the file: bus interfaces, the memory map of registers.rdl, ports and files.

    Args:
        program: of a compile.
    """
    ET.register_namespace("spirit", SPIRIT)
    core = program.core
    root = _registers(core.top, version(program))
    maps = root.find(_tag("memoryMaps"))
    assert maps is not None
    (name,) = (e.text for e in maps.iterfind(f"{_tag('memoryMap')}/{_tag('name')}"))
    for size in maps.iterfind(f"{_tag('memoryMap')}/{_tag('addressBlock')}/{_tag('range')}"):
        size.text = str(PAGE)
    place = list(root).index(maps)
    buses = buses_of(core.ports, round(10**9 / period(program)))
    interfaces = ET.Element(_tag("busInterfaces"))
    interfaces.extend([_bus(bus, name or "") for bus in buses])
    parts = [interfaces]
    if any(bus.mode == "master" and bus.kind[1] == "aximm" for bus in buses):
        parts.append(_address_space())
    for part in reversed(parts):
        root.insert(place, part)
    root.append(_model(core))
    root.append(_files(program))
    _add(root, "description", "A compiled classifier and its explanation")
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def buses_of(ports: Sequence[Port], hertz: int) -> list[Bus]:
    """The bus interfaces of the ports, grouped by the prefixes of AXI, then clock, reset and interrupt."""
    found: dict[str, dict[str, str]] = {}
    for port in ports:
        prefix, _, signal = port.name.rpartition("_")
        if prefix:
            found.setdefault(prefix, {})[signal.upper()] = port.name
    buses = []
    for name, members in found.items():
        kind = "axis" if "_axis_" in name else "aximm"
        mode = "master" if name.startswith("m_") else "slave"
        parameters = {"PROTOCOL": "AXI4LITE" if mode == "slave" else "AXI4"} if kind == "aximm" else {}
        if kind == "aximm" and mode == "master":
            parameters["READ_WRITE_MODE"] = "READ_ONLY"
        buses.append(Bus(name, ("interface", kind), mode, members, parameters))
    clock = {"ASSOCIATED_BUSIF": ":".join(found), "ASSOCIATED_RESET": "aresetn", "FREQ_HZ": str(hertz)}
    return [
        *buses,
        Bus("aclk", ("signal", "clock"), "slave", {"CLK": "aclk"}, clock),
        Bus("aresetn", ("signal", "reset"), "slave", {"RST": "aresetn"}, {"POLARITY": "ACTIVE_LOW"}),
        Bus("interrupt", ("signal", "interrupt"), "master", {"INTERRUPT": "interrupt"}, {"SENSITIVITY": "LEVEL_HIGH"}),
    ]


def _registers(top: str, number: str) -> ET.Element:
    """The component with only the memory map."""
    exporter = IPXACTExporter(vendor=VENDOR, library=LIBRARY, version=number, standard=Standard.IEEE_1685_2009)
    text = exported("map.xml", lambda path: exporter.export(address_map(top), str(path), component_name=top))
    return ET.fromstring(text)


def _tag(name: str) -> str:
    return f"{{{SPIRIT}}}{name}"


def _add(parent: ET.Element, tag: str, text: str | None = None, /, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, _tag(tag), {_tag(n): v for n, v in attributes.items()})
    element.text = text
    return element


def _bus(bus: Bus, memory_map: str) -> ET.Element:
    element = ET.Element(_tag("busInterface"))
    _add(element, "name", bus.name)
    library, name = bus.kind
    for tag, suffix in (("busType", ""), ("abstractionType", "_rtl")):
        _add(element, tag, vendor="xilinx.com", library=library, name=name + suffix, version="1.0")
    mode = _add(element, bus.mode)
    if name == "aximm" and bus.mode == "slave":
        _add(mode, "memoryMapRef", memoryMapRef=memory_map)
    elif name == "aximm":
        _add(mode, "addressSpaceRef", addressSpaceRef="weights")
    maps = _add(element, "portMaps")
    for logical, physical in bus.ports.items():
        entry = _add(maps, "portMap")
        _add(_add(entry, "logicalPort"), "name", logical)
        _add(_add(entry, "physicalPort"), "name", physical)
    if bus.parameters:
        parameters = _add(element, "parameters")
        for key, value in bus.parameters.items():
            parameter = _add(parameters, "parameter")
            _add(parameter, "name", key)
            _add(parameter, "value", value)
    return element


def _address_space() -> ET.Element:
    element = ET.Element(_tag("addressSpaces"))
    space = _add(element, "addressSpace")
    _add(space, "name", "weights")
    _add(space, "range", str(1 << 64))
    _add(space, "width", "8")
    return element


def _model(core: Core) -> ET.Element:
    element = ET.Element(_tag("model"))
    views = _add(element, "views")
    for name, use in (("synthesis", "synthesis"), ("simulation", "simulation")):
        view = _add(views, "view")
        _add(view, "name", name)
        _add(view, "envIdentifier", f"systemVerilogSource:vivado.xilinx.com:{use}")
        _add(view, "language", "systemVerilog")
        _add(view, "modelName", core.top)
        _add(_add(view, "fileSetRef"), "localName", "sources")
    ports = _add(element, "ports")
    for port in core.ports:
        entry = _add(ports, "port")
        _add(entry, "name", port.name)
        wire = _add(entry, "wire")
        _add(wire, "direction", port.direction)
        if port.bits > 1:
            vector = _add(wire, "vector")
            _add(vector, "left", str(port.bits - 1))
            _add(vector, "right", "0")
    return element


def _files(program: Program) -> ET.Element:
    element = ET.Element(_tag("fileSets"))
    files = _add(element, "fileSet")
    _add(files, "name", "sources")
    kinds = [(name, "fileType", "systemVerilogSource") for name in rtl_files(program)]
    kinds += [(name, "userFileType", "mem") for name in memory_files(program)]
    kinds += [(f"{program.core.top}.xdc", "userFileType", "xdc")]
    for name, tag, kind in kinds:
        entry = _add(files, "file")
        _add(entry, "name", name)
        _add(entry, tag, kind)
    return element

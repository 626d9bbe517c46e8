"""The JSON files of a compile, one module per format: typed structures that write the files and that read them.

`program.json` (`gradcam.schema.program`) says how the design is and what it does, nest by nest. `schedule.json`
(`gradcam.schema.schedule`) says what was chosen. `report.json` (`gradcam.schema.report`) has figures: counts of the
network, and sums and ratios that follow from the program. A fact stands in one of them and once in it.

Every file has the number of its format, which a change of the format raises; `gradcam.schema.document` refuses all
others.
"""

"""The JSON files of a compile, one module per format: typed structures that write the files and that read them.

`program.json` (`gradcam.schema.program`) describes the design and its program, nest by nest. `schedule.json`
(`gradcam.schema.schedule`) holds the choices of the schedule. `report.json` (`gradcam.schema.report`) has figures:
counts of the network, and sums and ratios that follow from the program; that of a run (`gradcam.schema.run`) also has
what was simulated. Every fact is in only one of them, once.

Every file has the number of its format, which a change of the format raises; `gradcam.schema.document` refuses other
numbers.
"""

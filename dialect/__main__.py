"""`python -m gradcam.dialect > gradcam.irdl.mlir` writes the dialect as IRDL, for `torch-mlir-opt --irdl-file=`."""

from gradcam.dialect import irdl_text

print(irdl_text(), end="")

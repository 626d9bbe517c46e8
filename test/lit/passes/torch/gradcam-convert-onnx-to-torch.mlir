// RUN: %gradcam_opt %s --gradcam-convert-onnx-to-torch --split-input-file | FileCheck %s
// RUN: %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-convert-onnx-to-torch,func.func(convert-torch-onnx-to-torch))' --split-input-file | FileCheck %s --check-prefix=BOTH

// Axes that are an input become numbers.

// CHECK-LABEL: func.func @mean
// CHECK: [[I:%.+]] = torch.constant.int 2
// CHECK: [[J:%.+]] = torch.constant.int 3
// CHECK: [[L:%.+]] = torch.prim.ListConstruct [[I]], [[J]]
// CHECK: torch.aten.mean.dim %arg0, [[L]]
// BOTH-LABEL: func.func @mean
// BOTH-NOT: onnx.
// BOTH: return
func.func @mean(%x: !torch.vtensor<[1,4,8,8],f32>) -> !torch.vtensor<[1,4],f32> attributes {torch.onnx_meta.opset_version = 17 : si64} {
  %axes = torch.operator "onnx.Constant"() {torch.onnx.value = dense<[2, 3]> : tensor<2xsi64>} : () -> !torch.vtensor<[2],si64>
  %y = torch.operator "onnx.ReduceMean"(%x, %axes) {torch.onnx.keepdims = 0 : si64} : (!torch.vtensor<[1,4,8,8],f32>, !torch.vtensor<[2],si64>) -> !torch.vtensor<[1,4],f32>
  return %y : !torch.vtensor<[1,4],f32>
}

// -----

// Pads that are not equal are made before the pool, with what never wins.

// CHECK-LABEL: func.func @pool
// CHECK: [[V:%.+]] = torch.constant.float 0xFFF0000000000000
// CHECK: [[P:%.+]] = torch.aten.pad %arg0, %{{.+}}, %{{.+}}, [[V]] {{.*}} -> !torch.vtensor<[1,4,9,9],f32>
// CHECK: torch.aten.max_pool2d [[P]]
func.func @pool(%x: !torch.vtensor<[1,4,8,8],f32>) -> !torch.vtensor<[1,4,4,4],f32> attributes {torch.onnx_meta.opset_version = 17 : si64} {
  %y = torch.operator "onnx.MaxPool"(%x) {torch.onnx.kernel_shape = [3 : si64, 3 : si64], torch.onnx.pads = [0 : si64, 0 : si64, 1 : si64, 1 : si64], torch.onnx.strides = [2 : si64, 2 : si64]} : (!torch.vtensor<[1,4,8,8],f32>) -> !torch.vtensor<[1,4,4,4],f32>
  return %y : !torch.vtensor<[1,4,4,4],f32>
}

// -----

// What torch-mlir converts stays; what nobody does is kept with a reason, without its constants.

// CHECK-LABEL: func.func @kept
// CHECK: torch.operator "onnx.Relu"(%arg0)
// CHECK: torch.operator "torch.onnx.Einsum"(%{{.+}}) {gradcam.reason = "is not supported"}
// CHECK: torch.operator "torch.onnx.PRelu"(%{{[^,]+}}) {gradcam.reason = "has slopes of shape 8; supported is one, or one per channel"}
// BOTH-LABEL: func.func @kept
// BOTH: torch.aten.relu
// BOTH: torch.operator "torch.onnx.Einsum"
func.func @kept(%x: !torch.vtensor<[1,4,8,8],f32>) -> !torch.vtensor<[1,4,8,8],f32> attributes {torch.onnx_meta.opset_version = 17 : si64} {
  %a = torch.operator "onnx.Constant"() {torch.onnx.value = dense<1.0> : tensor<8xf32>} : () -> !torch.vtensor<[8],f32>
  %y = torch.operator "onnx.Relu"(%x) : (!torch.vtensor<[1,4,8,8],f32>) -> !torch.vtensor<[1,4,8,8],f32>
  %z = torch.operator "onnx.Einsum"(%y) {torch.onnx.equation = "nchw->nchw"} : (!torch.vtensor<[1,4,8,8],f32>) -> !torch.vtensor<[1,4,8,8],f32>
  %w = torch.operator "onnx.PRelu"(%z, %a) : (!torch.vtensor<[1,4,8,8],f32>, !torch.vtensor<[8],f32>) -> !torch.vtensor<[1,4,8,8],f32>
  return %w : !torch.vtensor<[1,4,8,8],f32>
}

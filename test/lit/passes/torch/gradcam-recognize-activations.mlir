// RUN: %gradcam_opt %s --gradcam-recognize-activations --split-input-file | FileCheck %s

// CHECK-LABEL: func.func @hard_swish
// CHECK: [[Y:%.+]] = torch.aten.hardswish %arg0
// CHECK: return [[Y]]
func.func @hard_swish(%x: !torch.vtensor<[1,4,2,2],f32>) -> !torch.vtensor<[1,4,2,2],f32> {
  %one = torch.constant.int 1
  %three = torch.constant.float 3.0
  %six = torch.constant.float 6.0
  %a = torch.aten.add.Scalar %x, %three, %one : !torch.vtensor<[1,4,2,2],f32>, !torch.float, !torch.int -> !torch.vtensor<[1,4,2,2],f32>
  %b = torch.aten.relu6 %a : !torch.vtensor<[1,4,2,2],f32> -> !torch.vtensor<[1,4,2,2],f32>
  %c = torch.aten.mul.Tensor %x, %b : !torch.vtensor<[1,4,2,2],f32>, !torch.vtensor<[1,4,2,2],f32> -> !torch.vtensor<[1,4,2,2],f32>
  %y = torch.aten.div.Scalar %c, %six : !torch.vtensor<[1,4,2,2],f32>, !torch.float -> !torch.vtensor<[1,4,2,2],f32>
  return %y : !torch.vtensor<[1,4,2,2],f32>
}

// -----

// Another bend: nothing changes.

// CHECK-LABEL: func.func @other
// CHECK: [[Y:%.+]] = torch.aten.mul.Tensor
// CHECK: return [[Y]]
func.func @other(%x: !torch.vtensor<[1,4,2,2],f32>) -> !torch.vtensor<[1,4,2,2],f32> {
  %one = torch.constant.int 1
  %two = torch.constant.float 2.0
  %a = torch.aten.mul.Scalar %x, %two : !torch.vtensor<[1,4,2,2],f32>, !torch.float -> !torch.vtensor<[1,4,2,2],f32>
  %b = torch.aten.sigmoid %a : !torch.vtensor<[1,4,2,2],f32> -> !torch.vtensor<[1,4,2,2],f32>
  %y = torch.aten.mul.Tensor %x, %b : !torch.vtensor<[1,4,2,2],f32>, !torch.vtensor<[1,4,2,2],f32> -> !torch.vtensor<[1,4,2,2],f32>
  return %y : !torch.vtensor<[1,4,2,2],f32>
}

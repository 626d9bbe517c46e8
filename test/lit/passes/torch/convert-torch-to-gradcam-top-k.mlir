// RUN: %gradcam_opt %s --convert-torch-to-gradcam=top-k=3 --split-input-file --verify-diagnostics | FileCheck %s

// Several classes are explained: each is chosen once, from those that are left.

// CHECK-LABEL: func.func @main(%arg0: tensor<1x4x2x2xf32>
// CHECK: [[C:%.+]] = "gradcam.select_class"([[L:%.+]], %arg1)
// CHECK-NEXT: [[D:%.+]] = "gradcam.next_class"([[L]], [[C]])
// CHECK-NEXT: [[E:%.+]] = "gradcam.next_class"([[L]], [[C]], [[D]])
// CHECK-NEXT: [[M0:%.+]] = "gradcam.explain"([[L]], [[X:%.+]], [[C]])
// CHECK-NEXT: [[M1:%.+]] = "gradcam.explain"([[L]], [[X]], [[D]])
// CHECK-NEXT: [[M2:%.+]] = "gradcam.explain"([[L]], [[X]], [[E]])
// CHECK-NEXT: [[M3:%.+]] = "gradcam.explain"([[L]], [[Y:%.+]], [[C]])
// CHECK-NEXT: [[M4:%.+]] = "gradcam.explain"([[L]], [[Y]], [[D]])
// CHECK-NEXT: [[M5:%.+]] = "gradcam.explain"([[L]], [[Y]], [[E]])
// CHECK-NEXT: return [[L]], [[M0]], [[M1]], [[M2]], [[M3]], [[M4]], [[M5]]
func.func @main(%x: !torch.vtensor<[1,4,2,2],f32>) -> !torch.vtensor<[1,4],f32> {
  %none = torch.constant.none
  %false = torch.constant.bool false
  %two = torch.constant.int 2
  %three = torch.constant.int 3
  %first = torch.constant.str "first"
  %second = torch.constant.str "second"
  %axes = torch.prim.ListConstruct %two, %three : (!torch.int, !torch.int) -> !torch.list<int>
  %a = torch.operator "torch.gradcam.target"(%x, %first) : (!torch.vtensor<[1,4,2,2],f32>, !torch.str) -> !torch.vtensor<[1,4,2,2],f32>
  %r = torch.aten.relu %a : !torch.vtensor<[1,4,2,2],f32> -> !torch.vtensor<[1,4,2,2],f32>
  %b = torch.operator "torch.gradcam.target"(%r, %second) : (!torch.vtensor<[1,4,2,2],f32>, !torch.str) -> !torch.vtensor<[1,4,2,2],f32>
  %m = torch.aten.mean.dim %b, %axes, %false, %none : !torch.vtensor<[1,4,2,2],f32>, !torch.list<int>, !torch.bool, !torch.none -> !torch.vtensor<[1,4],f32>
  return %m : !torch.vtensor<[1,4],f32>
}

// -----

// expected-error@+1 {{top-k 3 is more than the 2 classes there are}}
func.func @main(%x: !torch.vtensor<[1,2,2,2],f32>) -> !torch.vtensor<[1,2],f32> {
  %none = torch.constant.none
  %false = torch.constant.bool false
  %two = torch.constant.int 2
  %three = torch.constant.int 3
  %path = torch.constant.str "body"
  %axes = torch.prim.ListConstruct %two, %three : (!torch.int, !torch.int) -> !torch.list<int>
  %a = torch.operator "torch.gradcam.target"(%x, %path) : (!torch.vtensor<[1,2,2,2],f32>, !torch.str) -> !torch.vtensor<[1,2,2,2],f32>
  %m = torch.aten.mean.dim %a, %axes, %false, %none : !torch.vtensor<[1,2,2,2],f32>, !torch.list<int>, !torch.bool, !torch.none -> !torch.vtensor<[1,2],f32>
  return %m : !torch.vtensor<[1,2],f32>
}

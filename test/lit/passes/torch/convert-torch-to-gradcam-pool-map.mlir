// RUN: %gradcam_opt %s --convert-torch-to-gradcam=pool-map=2 --split-input-file --verify-diagnostics | FileCheck %s

// The map is that of the whole target layer; what is returned are the means of its blocks.

// CHECK-LABEL: func.func @main(%arg0: tensor<1x2x4x5xf32>
// CHECK: [[M:%.+]] = "gradcam.explain"({{.*}} -> tensor<1x4x5xf32>
// CHECK-NEXT: [[P:%.+]] = "gradcam.pool_map"([[M]]) {size = 2 : i64} : (tensor<1x4x5xf32>) -> tensor<1x2x2xf32>
// CHECK-NEXT: return {{.*}}, [[P]] : tensor<1x2xf32>, tensor<1x2x2xf32>
func.func @main(%x: !torch.vtensor<[1,2,4,5],f32>) -> !torch.vtensor<[1,2],f32> {
  %none = torch.constant.none
  %false = torch.constant.bool false
  %two = torch.constant.int 2
  %three = torch.constant.int 3
  %path = torch.constant.str "body"
  %axes = torch.prim.ListConstruct %two, %three : (!torch.int, !torch.int) -> !torch.list<int>
  %a = torch.operator "torch.gradcam.target"(%x, %path) : (!torch.vtensor<[1,2,4,5],f32>, !torch.str) -> !torch.vtensor<[1,2,4,5],f32>
  %m = torch.aten.mean.dim %a, %axes, %false, %none : !torch.vtensor<[1,2,4,5],f32>, !torch.list<int>, !torch.bool, !torch.none -> !torch.vtensor<[1,2],f32>
  return %m : !torch.vtensor<[1,2],f32>
}

// -----

func.func @main(%x: !torch.vtensor<[1,2,1,5],f32>) -> !torch.vtensor<[1,2],f32> {
  %none = torch.constant.none
  %false = torch.constant.bool false
  %two = torch.constant.int 2
  %three = torch.constant.int 3
  %path = torch.constant.str "body"
  %axes = torch.prim.ListConstruct %two, %three : (!torch.int, !torch.int) -> !torch.list<int>
  // expected-error@+1 {{the map at target layer 'body' is 1x5 and has no block of 2x2; pool-map can be at most 1 here}}
  %a = torch.operator "torch.gradcam.target"(%x, %path) : (!torch.vtensor<[1,2,1,5],f32>, !torch.str) -> !torch.vtensor<[1,2,1,5],f32>
  %m = torch.aten.mean.dim %a, %axes, %false, %none : !torch.vtensor<[1,2,1,5],f32>, !torch.list<int>, !torch.bool, !torch.none -> !torch.vtensor<[1,2],f32>
  return %m : !torch.vtensor<[1,2],f32>
}

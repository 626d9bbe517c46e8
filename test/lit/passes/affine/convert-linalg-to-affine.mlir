// RUN: %gradcam_opt %s --convert-linalg-to-affine --split-input-file --verify-diagnostics | FileCheck %s
// RUN: %gradcam_opt %s --convert-linalg-to-affine --split-input-file --verify-diagnostics --mlir-print-debuginfo | FileCheck %s --check-prefix=NAME
// RUN: %gradcam_opt %s --convert-linalg-to-affine --canonicalize --split-input-file --verify-diagnostics | FileCheck %s --check-prefix=EQUAL

#x = affine_map<(oct, oh, ow, ict, kh, kw, o, i) -> (oh * 2 + kh, ow * 2 + kw, ict * 4 + i)>
#w = affine_map<(oct, oh, ow, ict, kh, kw, o, i) -> (oct, ict, kh, kw, o, i)>
#y = affine_map<(oct, oh, ow, ict, kh, kw, o, i) -> (oh, ow, oct * 4 + o)>
#id = affine_map<(h, w, c) -> (h, w, c)>
#row = affine_map<(h, w, c) -> (c)>

// A padded convolution of stride 2 with a bias. The image arrives with 3 lanes and is read with 4.
// CHECK: #[[LOW:.+]] = affine_set<(d0, d1, d2, d3) : (d0 * 2 + d1 - 1 >= 0, d2 * 2 + d3 - 1 >= 0)>
// CHECK: func.func @main(%[[IMAGE:.+]]: memref<8x8x3xi8> {gradcam.name = "image"}, %[[OUT:.+]]: memref<4x4x4xi32> {gradcam.name = "logits"}
// CHECK: %[[X:.+]] = memref.alloc() : memref<8x8x4xi8>
// CHECK: affine.for %[[H:.+]] = 0 to 8
// CHECK-NEXT: affine.for %[[W:.+]] = 0 to 8
// CHECK-NEXT: affine.for %[[C:.+]] = 0 to 3
// CHECK-NEXT: %[[V:.+]] = affine.load %[[IMAGE]][%[[H]], %[[W]], %[[C]]] : memref<8x8x3xi8>
// CHECK-NEXT: affine.store %[[V]], %[[X]][%[[H]], %[[W]], %[[C]]] : memref<8x8x4xi8>
// The accumulator's initial value is a nest of its own.
// CHECK: %[[ACC:.+]] = memref.alloc() : memref<4x4x4xi32>
// CHECK: affine.store %c0_i32, %[[ACC]]
// CHECK: affine.for %[[OCT:.+]] = 0 to 1
// CHECK-NEXT: affine.for %[[OH:.+]] = 0 to 4
// CHECK-NEXT: affine.for %[[OW:.+]] = 0 to 4
// CHECK-NEXT: affine.for %[[ICT:.+]] = 0 to 1
// CHECK-NEXT: affine.for %[[KH:.+]] = 0 to 3
// CHECK-NEXT: affine.for %[[KW:.+]] = 0 to 3
// CHECK-NEXT: affine.for %[[O:.+]] = 0 to 4
// CHECK-NEXT: affine.for %[[I:.+]] = 0 to 4
// CHECK-NEXT: affine.if #[[LOW]](%[[OH]], %[[KH]], %[[OW]], %[[KW]]) -> i8
// CHECK-NEXT: affine.load %[[X]][%[[OH]] * 2 + %[[KH]] - 1, %[[OW]] * 2 + %[[KW]] - 1, %[[ICT]] * 4 + %[[I]]] : memref<8x8x4xi8>
// CHECK: } else {
// CHECK-NEXT: affine.yield %c0_i8
// CHECK: affine.load %{{.+}}[%[[OCT]], %[[ICT]], %[[KH]], %[[KW]], %[[O]], %[[I]]] : memref<1x1x3x3x4x4xi8>
// CHECK: affine.load %[[ACC]][%[[OH]], %[[OW]], %[[OCT]] * 4 + %[[O]]]
// CHECK: arith.muli
// CHECK: affine.store {{.+}}, %[[ACC]][%[[OH]], %[[OW]], %[[OCT]] * 4 + %[[O]]]
// CHECK: affine.store {{.+}}, %[[OUT]]
// CHECK: memref.global "private" @constant0 : memref<1x1x3x3x4x4xi8> = dense<3>
// CHECK: memref.global "private" @constant1 : memref<4xi32> = dense<5>
// Constants of equal elements stay in their buffers, so that the nest has the same body as one with other weights.
// EQUAL: affine.load {{.+}} : memref<1x1x3x3x4x4xi8>
// EQUAL: arith.muli
// EQUAL: affine.load {{.+}} : memref<4xi32>
// NAME: affine.for {{.+}} loc("image") = 0 to 8
// NAME: affine.for {{.+}} loc("conv") = 0 to 1
// NAME: affine.for {{.+}} loc("logits") = 0 to 4
func.func @main(%image: tensor<8x8x3xi8>) -> tensor<4x4x4xi32> {
  %c0_i8 = arith.constant 0 : i8
  %c0_i32 = arith.constant 0 : i32
  %weights = arith.constant dense<3> : tensor<1x1x3x3x4x4xi8>
  %bias = arith.constant dense<5> : tensor<4xi32>
  %lanes = tensor.pad %image low[0, 0, 0] high[0, 0, 1] {
  ^bb0(%0: index, %1: index, %2: index):
    tensor.yield %c0_i8 : i8
  } : tensor<8x8x3xi8> to tensor<8x8x4xi8>
  %padded = tensor.pad %lanes low[1, 1, 0] high[0, 0, 0] {
  ^bb0(%0: index, %1: index, %2: index):
    tensor.yield %c0_i8 : i8
  } : tensor<8x8x4xi8> to tensor<9x9x4xi8>
  %empty = tensor.empty() : tensor<4x4x4xi32>
  %zero = linalg.fill ins(%c0_i32 : i32) outs(%empty : tensor<4x4x4xi32>) -> tensor<4x4x4xi32>
  %acc = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "parallel", "reduction"]}
      ins(%padded, %weights : tensor<9x9x4xi8>, tensor<1x1x3x3x4x4xi8>) outs(%zero : tensor<4x4x4xi32>) {
  ^bb0(%a: i8, %b: i8, %s: i32):
    %ae = arith.extsi %a : i8 to i32
    %be = arith.extsi %b : i8 to i32
    %p = arith.muli %ae, %be : i32
    %n = arith.addi %s, %p : i32
    linalg.yield %n : i32
  } -> tensor<4x4x4xi32> loc("conv")
  %sum = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%acc, %bias : tensor<4x4x4xi32>, tensor<4xi32>) outs(%empty : tensor<4x4x4xi32>) {
  ^bb0(%a: i32, %b: i32, %o: i32):
    %n = arith.addi %a, %b : i32
    linalg.yield %n : i32
  } -> tensor<4x4x4xi32> loc("conv")
  return %sum : tensor<4x4x4xi32>
}

// -----

// The lane of a class is a symbol of the access: tile and lane of a run-time class in a table of rows.
// CHECK-LABEL: func.func @row
// CHECK-SAME: %[[T:.+]]: memref<8x4x2xi32> {gradcam.name = "image"}, %[[CLS:.+]]: memref<1xi32> {gradcam.name = "class_select"}
// CHECK: %[[V:.+]] = memref.load %[[CLS]]
// CHECK: %[[S:.+]] = arith.index_cast %[[V]]
// CHECK: affine.for %[[I:.+]] = 0 to 2
// CHECK-NEXT: affine.load {{.+}}[symbol(%[[S]]) floordiv 4, symbol(%[[S]]) mod 4, %[[I]]] : memref<8x4x2xi32>
func.func @row(%table: tensor<8x4x2xi32>, %class: tensor<1xi32>) -> tensor<2xi32> {
  %c0 = arith.constant 0 : index
  %c4 = arith.constant 4 : index
  %v = tensor.extract %class[%c0] : tensor<1xi32>
  %c = arith.index_cast %v : i32 to index
  %tile = arith.floordivsi %c, %c4 : index
  %lane = arith.remsi %c, %c4 : index
  %row = tensor.extract_slice %table[%tile, %lane, 0] [1, 1, 2] [1, 1, 1] : tensor<8x4x2xi32> to tensor<2xi32>
  return %row : tensor<2xi32>
}

// -----

// expected-error@+1 {{arguments and results must be tensors of static shape, not i32}}
func.func @main(%x: i32) {
  return
}

// -----

// expected-error@+1 {{arguments and results must be tensors of static shape, not tensor<?xi32>}}
func.func @main(%x: tensor<?xi32>) -> tensor<?xi32> {
  return %x : tensor<?xi32>
}

// -----

func.func @main(%x: tensor<4xi32>) -> tensor<4xi32> {
  %e = tensor.empty() : tensor<4xi32>
  // expected-error@+1 {{'linalg.add' has no affine form here; run convert-gradcam-to-linalg and canonicalize first}}
  %y = linalg.add ins(%x, %x : tensor<4xi32>, tensor<4xi32>) outs(%e : tensor<4xi32>) -> tensor<4xi32>
  return %y : tensor<4xi32>
}

// -----

// expected-error@+1 {{a tensor is read that is no argument, no constant and no result of a linalg.generic}}
func.func @main() -> tensor<4xi32> {
  %e = tensor.empty() : tensor<4xi32>
  return %e : tensor<4xi32>
}

// -----

func.func @main(%x: tensor<4xi32>, %p: tensor<1xi32>) -> tensor<6xi32> {
  %c0 = arith.constant 0 : index
  %v = tensor.extract %p[%c0] : tensor<1xi32>
  // expected-error@+1 {{tensor.pad must pad, by constant amounts and with a constant, what is not padded already}}
  %y = tensor.pad %x low[1] high[1] {
  ^bb0(%i: index):
    tensor.yield %v : i32
  } : tensor<4xi32> to tensor<6xi32>
  return %y : tensor<6xi32>
}

// -----

func.func @main(%x: tensor<4xi32>) -> tensor<4xi32> {
  %c0 = arith.constant 0 : index
  // expected-error@+1 {{tensor.extract reads only tensors of one element, such as the class}}
  %v = tensor.extract %x[%c0] : tensor<4xi32>
  return %x : tensor<4xi32>
}

// -----

func.func @main(%x: tensor<9xi32>, %class: tensor<1xi32>) -> tensor<1xi32> {
  %c0 = arith.constant 0 : index
  %c4 = arith.constant 4 : index
  %c2 = arith.constant 2 : index
  %v = tensor.extract %class[%c0] : tensor<1xi32>
  %c = arith.index_cast %v : i32 to index
  %half = arith.floordivsi %c, %c2 : index
  // expected-error@+1 {{an index must be read from a tensor and may be divided once, by a constant}}
  %quarter = arith.floordivsi %half, %c2 : index
  %y = tensor.extract_slice %x[%quarter] [1] [1] : tensor<9xi32> to tensor<1xi32>
  return %y : tensor<1xi32>
}

// -----

func.func @main(%x: tensor<4x2xi32>, %start: tensor<2xi32>) -> tensor<2xi32> {
  // expected-error@+1 {{an accumulator must start from linalg.fill}}
  %y = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>], iterator_types = ["reduction", "parallel"]}
      ins(%x : tensor<4x2xi32>) outs(%start : tensor<2xi32>) {
  ^bb0(%a: i32, %s: i32):
    %n = arith.addi %s, %a : i32
    linalg.yield %n : i32
  } -> tensor<2xi32>
  return %y : tensor<2xi32>
}

// -----

func.func @main(%x: tensor<4xi32>) -> tensor<4xi32> {
  %e = tensor.empty() : tensor<4xi32>
  // expected-error@+1 {{'d0 mod 2' is not linear; only loops times constants, and one symbol mod or floordiv a constant, are}}
  %y = linalg.generic {indexing_maps = [affine_map<(i) -> (i mod 2)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%x : tensor<4xi32>) outs(%e : tensor<4xi32>) {
  ^bb0(%a: i32, %o: i32):
    linalg.yield %a : i32
  } -> tensor<4xi32>
  return %y : tensor<4xi32>
}

// -----

// expected-error@+1 {{a module must hold exactly one function to compile, found 0}}
module {
}

// -----

// A lookup in a constant table stays one: it is no access of a buffer.

// CHECK: %[[ENTRIES:.*]] = memref.get_global @constant0 : memref<4xi8>
// CHECK: affine.for %{{.*}} = 0 to 8
// CHECK: %[[X:.*]] = affine.load %{{.*}} : memref<8xi2>
// CHECK-NEXT: %[[INDEX:.*]] = arith.index_castui %[[X]] : i2 to index
// CHECK-NEXT: %[[Y:.*]] = memref.load %[[ENTRIES]][%[[INDEX]]] : memref<4xi8>
// CHECK-NEXT: affine.store %[[Y]]
// CHECK: memref.global "private" @constant0 : memref<4xi8> = dense<[1, 2, 3, 4]>
func.func @main(%x: tensor<8xi2>) -> tensor<8xi8> {
  %table = arith.constant dense<[1, 2, 3, 4]> : tensor<4xi8>
  %e = tensor.empty() : tensor<8xi8>
  %y = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%x : tensor<8xi2>) outs(%e : tensor<8xi8>) {
  ^bb0(%a: i2, %o: i8):
    %i = arith.index_castui %a : i2 to index
    %v = tensor.extract %table[%i] : tensor<4xi8>
    linalg.yield %v : i8
  } -> tensor<8xi8>
  return %y : tensor<8xi8>
}

// -----

func.func @main(%x: tensor<8xi2>, %table: tensor<4xi8>) -> tensor<8xi8> {
  %e = tensor.empty() : tensor<8xi8>
  %y = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%x : tensor<8xi2>) outs(%e : tensor<8xi8>) {
  ^bb0(%a: i2, %o: i8):
    %i = arith.index_castui %a : i2 to index
    // expected-error@+1 {{a nest can only look values up in a constant of one dimension}}
    %v = tensor.extract %table[%i] : tensor<4xi8>
    linalg.yield %v : i8
  } -> tensor<8xi8>
  return %y : tensor<8xi8>
}

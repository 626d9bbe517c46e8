// RUN: %gradcam_opt %s --convert-linalg-to-affine --split-input-file --verify-diagnostics | FileCheck %s
// RUN: %gradcam_opt %s --convert-linalg-to-affine --split-input-file --verify-diagnostics --mlir-print-debuginfo | FileCheck %s --check-prefix=NAME

// What tensor.extract_slice reads and tensor.insert_slice puts together is found in place, with a stride per dimension.

// A transposed convolution of stride 2 in one dimension: odd outputs see the even taps, from the last one to the first,
// of an input that is padded behind; even outputs see tap 1. Both nests write one buffer.
// CHECK: #[[IN:.+]] = affine_set<(d0, d1) : (-d0 + d1 + 1 >= 0)>
// CHECK-LABEL: func.func @transposed
// CHECK: %[[X:.+]] = memref.alloc() : memref<3x4xi8>
// CHECK: %[[Y:.+]] = memref.alloc() : memref<6x4xi32>
// CHECK: affine.for %[[A:.+]] = 0 to 3
// CHECK-NEXT: affine.for %[[O:.+]] = 0 to 4
// CHECK-NEXT: affine.store %c0_i32, %[[Y]][%[[A]] * 2, %[[O]]] : memref<6x4xi32>
// CHECK: affine.load %[[X]][%[[A:.+]] - %[[K:.+]], %{{.+}}] : memref<3x4xi8>
// CHECK-NEXT: affine.load %{{.+}}[%[[K]] * 2 + 1, %{{.+}}, %{{.+}}] : memref<3x4x4xi8>
// CHECK-NEXT: affine.load %[[Y]][%[[A]] * 2, %{{.+}}]
// CHECK: affine.store %{{.+}}, %[[Y]][%[[A]] * 2, %{{.+}}] : memref<6x4xi32>
// CHECK: affine.store %c0_i32, %[[Y]][%{{.+}} * 2 + 1, %{{.+}}] : memref<6x4xi32>
// CHECK: affine.if #[[IN]](%[[A:.+]], %[[K:.+]]) -> i8
// CHECK-NEXT: affine.load %[[X]][%[[A]] - %[[K]] + 1, %{{.+}}] : memref<3x4xi8>
// CHECK: affine.load %{{.+}}[%[[K]] * 2, %{{.+}}, %{{.+}}] : memref<3x4x4xi8>
// CHECK: affine.store %{{.+}}, %[[Y]][%[[A]] * 2 + 1, %{{.+}}] : memref<6x4xi32>
// CHECK-NOT: memref.alloc
// CHECK: affine.load %[[Y]][%{{.+}}, %{{.+}}] : memref<6x4xi32>
// NAME-LABEL: func.func @transposed
// NAME: affine.for {{.+}} loc("even") = 0 to 3
// NAME: affine.for {{.+}} loc("odd") = 0 to 3
func.func @transposed(%x: tensor<3x4xi8>) -> tensor<6x4xi32> {
  %zero = arith.constant 0 : i8
  %c0 = arith.constant 0 : i32
  %w = arith.constant dense<3> : tensor<3x4x4xi8>
  %e = tensor.empty() : tensor<3x4xi32>
  %start = linalg.fill ins(%c0 : i32) outs(%e : tensor<3x4xi32>) -> tensor<3x4xi32>
  %w0 = tensor.extract_slice %w[1, 0, 0] [1, 4, 4] [2, 1, 1] : tensor<3x4x4xi8> to tensor<1x4x4xi8>
  %even = linalg.generic {indexing_maps = [affine_map<(a, k, i, o) -> (a - k, o)>, affine_map<(a, k, i, o) -> (k, o, i)>, affine_map<(a, k, i, o) -> (a, i)>], iterator_types = ["parallel", "reduction", "parallel", "reduction"]}
      ins(%x, %w0 : tensor<3x4xi8>, tensor<1x4x4xi8>) outs(%start : tensor<3x4xi32>) {
  ^bb0(%a: i8, %b: i8, %s: i32):
    %p = arith.muli %a, %b : i8
    %q = arith.extsi %p : i8 to i32
    %n = arith.addi %s, %q : i32
    linalg.yield %n : i32
  } -> tensor<3x4xi32> loc("even")
  %padded = tensor.pad %x low[0, 0] high[1, 0] {
  ^bb0(%0: index, %1: index):
    tensor.yield %zero : i8
  } : tensor<3x4xi8> to tensor<4x4xi8>
  %w1 = tensor.extract_slice %w[0, 0, 0] [2, 4, 4] [2, 1, 1] : tensor<3x4x4xi8> to tensor<2x4x4xi8>
  %odd = linalg.generic {indexing_maps = [affine_map<(a, k, i, o) -> (a + 1 - k, o)>, affine_map<(a, k, i, o) -> (k, o, i)>, affine_map<(a, k, i, o) -> (a, i)>], iterator_types = ["parallel", "reduction", "parallel", "reduction"]}
      ins(%padded, %w1 : tensor<4x4xi8>, tensor<2x4x4xi8>) outs(%start : tensor<3x4xi32>) {
  ^bb0(%a: i8, %b: i8, %s: i32):
    %p = arith.muli %a, %b : i8
    %q = arith.extsi %p : i8 to i32
    %n = arith.addi %s, %q : i32
    linalg.yield %n : i32
  } -> tensor<3x4xi32> loc("odd")
  %whole = tensor.empty() : tensor<6x4xi32>
  %0 = tensor.insert_slice %even into %whole[0, 0] [3, 4] [2, 1] : tensor<3x4xi32> into tensor<6x4xi32>
  %1 = tensor.insert_slice %odd into %0[1, 0] [3, 4] [2, 1] : tensor<3x4xi32> into tensor<6x4xi32>
  return %1 : tensor<6x4xi32>
}

// -----

// Two chains from one tensor.empty have a buffer each; one from linalg.fill is filled first. A slice of a slice and the
// padding of a slice come down to one access.
#v = affine_map<(i) -> (i)>
// CHECK: #[[SET:.+]] = affine_set<(d0) : (d0 - 1 >= 0, -d0 + 2 >= 0)>
// CHECK-LABEL: func.func @chains
// CHECK: memref.alloc() : memref<8xi32>
// CHECK: memref.alloc() : memref<8xi32>
// CHECK: %[[Z:.+]] = memref.alloc() : memref<6xi32>
// CHECK: affine.for %[[I:.+]] = 0 to 6
// CHECK-NEXT: affine.store %c7_i32, %[[Z]][%[[I]]]
// CHECK: affine.for %[[I:.+]] = 0 to 4
// CHECK-NEXT: affine.if #[[SET]](%[[I]]) -> i32
// CHECK-NEXT: affine.load %{{.+}}[%[[I]] * 4 - 2] : memref<8xi32>
// CHECK: affine.store %{{.+}}, %[[Z]][%[[I]] + 1]
// CHECK: memref.alloc() : memref<8xi32>
// CHECK-NOT: memref.alloc
// NAME-LABEL: func.func @chains
// NAME: affine.for {{.+}} loc("start") = 0 to 6
func.func @chains(%x: tensor<8xi32>) -> (tensor<8xi32>, tensor<6xi32>, tensor<8xi32>) {
  %c7 = arith.constant 7 : i32
  %zero = arith.constant 0 : i32
  %e = tensor.empty() : tensor<8xi32>
  %s = tensor.empty() : tensor<4xi32>
  %a = linalg.generic {indexing_maps = [#v, #v], iterator_types = ["parallel"]} ins(%x : tensor<8xi32>) outs(%e : tensor<8xi32>) {
  ^bb0(%p: i32, %o: i32):
    %n = arith.addi %p, %p : i32
    linalg.yield %n : i32
  } -> tensor<8xi32>
  %first = tensor.insert_slice %a into %e[0] [8] [1] : tensor<8xi32> into tensor<8xi32>
  %half = tensor.extract_slice %x[0] [4] [2] : tensor<8xi32> to tensor<4xi32>
  %most = tensor.extract_slice %half[1] [2] [2] : tensor<4xi32> to tensor<2xi32>
  %padded = tensor.pad %most low[1] high[1] {
  ^bb0(%i: index):
    tensor.yield %zero : i32
  } : tensor<2xi32> to tensor<4xi32>
  %b = linalg.generic {indexing_maps = [#v, #v], iterator_types = ["parallel"]} ins(%padded : tensor<4xi32>) outs(%s : tensor<4xi32>) {
  ^bb0(%p: i32, %o: i32):
    %n = arith.muli %p, %p : i32
    linalg.yield %n : i32
  } -> tensor<4xi32>
  %f = tensor.empty() : tensor<6xi32>
  %start = linalg.fill ins(%c7 : i32) outs(%f : tensor<6xi32>) -> tensor<6xi32> loc("start")
  %second = tensor.insert_slice %b into %start[1] [4] [1] : tensor<4xi32> into tensor<6xi32>
  %c = linalg.generic {indexing_maps = [#v, #v], iterator_types = ["parallel"]} ins(%x : tensor<8xi32>) outs(%e : tensor<8xi32>) {
  ^bb0(%p: i32, %o: i32):
    linalg.yield %p : i32
  } -> tensor<8xi32>
  %third = tensor.insert_slice %c into %e[0] [8] [1] : tensor<8xi32> into tensor<8xi32>
  return %first, %second, %third : tensor<8xi32>, tensor<6xi32>, tensor<8xi32>
}

// -----

#v = affine_map<(i) -> (i)>
func.func @main(%x: tensor<4xi32>) -> tensor<8xi32> {
  %e = tensor.empty() : tensor<4xi32>
  %whole = tensor.empty() : tensor<8xi32>
  %y = linalg.generic {indexing_maps = [#v, #v], iterator_types = ["parallel"]} ins(%x : tensor<4xi32>) outs(%e : tensor<4xi32>) {
  ^bb0(%p: i32, %o: i32):
    linalg.yield %p : i32
  } -> tensor<4xi32>
  %z = linalg.generic {indexing_maps = [#v, #v], iterator_types = ["parallel"]} ins(%x : tensor<4xi32>) outs(%e : tensor<4xi32>) {
  ^bb0(%p: i32, %o: i32):
    linalg.yield %p : i32
  } -> tensor<4xi32>
  %0 = tensor.insert_slice %y into %whole[0] [4] [2] : tensor<4xi32> into tensor<8xi32>
  // expected-error@+1 {{slices that are put together must not overlap}}
  %1 = tensor.insert_slice %z into %0[2] [4] [1] : tensor<4xi32> into tensor<8xi32>
  return %1 : tensor<8xi32>
}

// -----

// What no nest computes is copied.
// CHECK-LABEL: func.func @copied
// CHECK: %[[X:.+]] = memref.alloc() : memref<4xi32>
// CHECK: %[[Y:.+]] = memref.alloc() : memref<8xi32>
// CHECK: affine.load %[[X]][%[[I:.+]]] : memref<4xi32>
// CHECK-NEXT: affine.store %{{.+}}, %[[Y]][%[[I]] * 2] : memref<8xi32>
func.func @copied(%x: tensor<4xi32>) -> tensor<8xi32> {
  %whole = tensor.empty() : tensor<8xi32>
  %0 = tensor.insert_slice %x into %whole[0] [4] [2] : tensor<4xi32> into tensor<8xi32>
  return %0 : tensor<8xi32>
}

// -----

// What is inserted twice is written in place once, and copied for the other place; who reads it reads the first place.
// CHECK-LABEL: func.func @shared
// CHECK: %[[Y:.+]] = memref.alloc() : memref<8xi32>
// CHECK: affine.store %{{.+}}, %[[Y]][%{{.+}} * 2] : memref<8xi32>
// CHECK: affine.load %[[Y]][%[[I:.+]] * 2] : memref<8xi32>
// CHECK-NEXT: affine.store %{{.+}}, %[[Y]][%[[I]] * 2 + 1] : memref<8xi32>
// CHECK: affine.load %[[Y]][%[[J:.+]] * 2] : memref<8xi32>
// CHECK-NEXT: affine.store %{{.+}}, %{{.+}}[%[[J]]] : memref<4xi32>
#v = affine_map<(i) -> (i)>
func.func @shared(%x: tensor<4xi32>) -> (tensor<8xi32>, tensor<4xi32>) {
  %e = tensor.empty() : tensor<4xi32>
  %whole = tensor.empty() : tensor<8xi32>
  %y = linalg.generic {indexing_maps = [#v, #v], iterator_types = ["parallel"]} ins(%x : tensor<4xi32>) outs(%e : tensor<4xi32>) {
  ^bb0(%p: i32, %o: i32):
    linalg.yield %p : i32
  } -> tensor<4xi32>
  %0 = tensor.insert_slice %y into %whole[0] [4] [2] : tensor<4xi32> into tensor<8xi32>
  %1 = tensor.insert_slice %y into %0[1] [4] [2] : tensor<4xi32> into tensor<8xi32>
  return %1, %y : tensor<8xi32>, tensor<4xi32>
}

// -----

// A reduction that is inserted twice, equal tap sums of two parities say, is computed for each of them.
// CHECK-LABEL: func.func @reduced
// CHECK: %[[Y:.+]] = memref.alloc() : memref<4xi32>
// CHECK: arith.addi
// CHECK: affine.store %{{.+}}, %[[Y]][%{{.+}} * 2{{.*}}] : memref<4xi32>
// CHECK: arith.addi
// CHECK: affine.store %{{.+}}, %[[Y]][%{{.+}} * 2{{.*}}] : memref<4xi32>
#r = affine_map<(i, j) -> (i, j)>
#s = affine_map<(i, j) -> (i)>
func.func @reduced(%x: tensor<2x3xi32>) -> tensor<4xi32> {
  %c0 = arith.constant 0 : i32
  %e = tensor.empty() : tensor<2xi32>
  %zero = linalg.fill ins(%c0 : i32) outs(%e : tensor<2xi32>) -> tensor<2xi32>
  %whole = tensor.empty() : tensor<4xi32>
  %y = linalg.generic {indexing_maps = [#r, #s], iterator_types = ["parallel", "reduction"]} ins(%x : tensor<2x3xi32>) outs(%zero : tensor<2xi32>) {
  ^bb0(%p: i32, %o: i32):
    %n = arith.addi %p, %o : i32
    linalg.yield %n : i32
  } -> tensor<2xi32>
  %0 = tensor.insert_slice %y into %whole[0] [2] [2] : tensor<2xi32> into tensor<4xi32>
  %1 = tensor.insert_slice %y into %0[1] [2] [2] : tensor<2xi32> into tensor<4xi32>
  return %1 : tensor<4xi32>
}

// -----

// A whole that is a slice of another one lies in the buffer of that one, as in a map that grows part by part.
// CHECK-LABEL: func.func @grown
// CHECK: %[[X:.+]] = memref.alloc() : memref<4xi32>
// CHECK: %[[Z:.+]] = memref.alloc() : memref<12xi32>
// CHECK: affine.store %{{.+}}, %[[Z]][%{{.+}}] : memref<12xi32>
// CHECK: affine.load %[[X]][%[[I:.+]]] : memref<4xi32>
// CHECK-NEXT: affine.store %{{.+}}, %[[Z]][%[[I]] + 4] : memref<12xi32>
// CHECK: affine.load %[[Z]][%[[J:.+]] + 2] : memref<12xi32>
// CHECK: affine.store %{{.+}}, %[[Z]][%[[J]] + 8] : memref<12xi32>
// CHECK-NOT: memref.alloc
#v = affine_map<(i) -> (i)>
func.func @grown(%x: tensor<4xi32>) -> tensor<12xi32> {
  %e = tensor.empty() : tensor<4xi32>
  %eight = tensor.empty() : tensor<8xi32>
  %twelve = tensor.empty() : tensor<12xi32>
  %a = linalg.generic {indexing_maps = [#v, #v], iterator_types = ["parallel"]} ins(%x : tensor<4xi32>) outs(%e : tensor<4xi32>) {
  ^bb0(%p: i32, %o: i32):
    %n = arith.addi %p, %p : i32
    linalg.yield %n : i32
  } -> tensor<4xi32>
  %0 = tensor.insert_slice %a into %eight[0] [4] [1] : tensor<4xi32> into tensor<8xi32>
  %1 = tensor.insert_slice %x into %0[4] [4] [1] : tensor<4xi32> into tensor<8xi32>
  %some = tensor.extract_slice %1[2] [4] [1] : tensor<8xi32> to tensor<4xi32>
  %b = linalg.generic {indexing_maps = [#v, #v], iterator_types = ["parallel"]} ins(%some : tensor<4xi32>) outs(%e : tensor<4xi32>) {
  ^bb0(%p: i32, %o: i32):
    %n = arith.muli %p, %p : i32
    linalg.yield %n : i32
  } -> tensor<4xi32>
  %2 = tensor.insert_slice %1 into %twelve[0] [8] [1] : tensor<8xi32> into tensor<12xi32>
  %3 = tensor.insert_slice %b into %2[8] [4] [1] : tensor<4xi32> into tensor<12xi32>
  return %3 : tensor<12xi32>
}

// -----

#v = affine_map<(i) -> (i)>
func.func @main(%x: tensor<4xi32>) -> (tensor<8xi32>, tensor<8xi32>) {
  %e = tensor.empty() : tensor<4xi32>
  %whole = tensor.empty() : tensor<8xi32>
  %y = linalg.generic {indexing_maps = [#v, #v], iterator_types = ["parallel"]} ins(%x : tensor<4xi32>) outs(%e : tensor<4xi32>) {
  ^bb0(%p: i32, %o: i32):
    linalg.yield %p : i32
  } -> tensor<4xi32>
  %z = linalg.generic {indexing_maps = [#v, #v], iterator_types = ["parallel"]} ins(%x : tensor<4xi32>) outs(%e : tensor<4xi32>) {
  ^bb0(%p: i32, %o: i32):
    linalg.yield %p : i32
  } -> tensor<4xi32>
  %0 = tensor.insert_slice %y into %whole[0] [4] [2] : tensor<4xi32> into tensor<8xi32>
  // expected-error@+1 {{the whole may only be read when all its slices are inserted}}
  %1 = tensor.insert_slice %z into %0[1] [4] [2] : tensor<4xi32> into tensor<8xi32>
  return %0, %1 : tensor<8xi32>, tensor<8xi32>
}

// -----

#v = affine_map<(i) -> (i)>
func.func @main(%x: tensor<4xi32>) -> tensor<2x4xi32> {
  %e = tensor.empty() : tensor<4xi32>
  %whole = tensor.empty() : tensor<8xi32>
  %y = linalg.generic {indexing_maps = [#v, #v], iterator_types = ["parallel"]} ins(%x : tensor<4xi32>) outs(%e : tensor<4xi32>) {
  ^bb0(%p: i32, %o: i32):
    linalg.yield %p : i32
  } -> tensor<4xi32>
  %rows = tensor.empty() : tensor<2x4xi32>
  // expected-error@+1 {{a slice must have the rank of the whole, and constant offsets, sizes and strides}}
  %0 = tensor.insert_slice %y into %rows[1, 0] [1, 4] [1, 1] : tensor<4xi32> into tensor<2x4xi32>
  return %0 : tensor<2x4xi32>
}

// -----

#v = affine_map<(i) -> (i)>
func.func @main(%x: tensor<4xi32>, %old: tensor<8xi32>) -> tensor<8xi32> {
  %e = tensor.empty() : tensor<4xi32>
  %whole = tensor.empty() : tensor<8xi32>
  %y = linalg.generic {indexing_maps = [#v, #v], iterator_types = ["parallel"]} ins(%x : tensor<4xi32>) outs(%e : tensor<4xi32>) {
  ^bb0(%p: i32, %o: i32):
    linalg.yield %p : i32
  } -> tensor<4xi32>
  // expected-error@+1 {{slices can only be put together in a tensor.empty or a linalg.fill}}
  %0 = tensor.insert_slice %y into %old[0] [4] [2] : tensor<4xi32> into tensor<8xi32>
  return %0 : tensor<8xi32>
}

// -----

#v = affine_map<(i) -> (i)>
func.func @main(%x: tensor<4xi32>, %one: tensor<1xi32>) -> tensor<8xi32> {
  %e = tensor.empty() : tensor<4xi32>
  %whole = tensor.empty() : tensor<8xi32>
  %y = linalg.generic {indexing_maps = [#v, #v], iterator_types = ["parallel"]} ins(%x : tensor<4xi32>) outs(%e : tensor<4xi32>) {
  ^bb0(%p: i32, %o: i32):
    linalg.yield %p : i32
  } -> tensor<4xi32>
  %c0 = arith.constant 0 : index
  %v = tensor.extract %one[%c0] : tensor<1xi32>
  %start = linalg.fill ins(%v : i32) outs(%whole : tensor<8xi32>) -> tensor<8xi32>
  // expected-error@+1 {{a tensor that slices are inserted into must be filled with a constant}}
  %0 = tensor.insert_slice %y into %start[0] [4] [2] : tensor<4xi32> into tensor<8xi32>
  return %0 : tensor<8xi32>
}

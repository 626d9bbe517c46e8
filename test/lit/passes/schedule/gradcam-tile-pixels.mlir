// RUN: %gradcam_opt %s --gradcam-tile-pixels | FileCheck %s
// RUN: %gradcam_opt %s --gradcam-tile-pixels=file=%S/Inputs/tile-pixels.json | FileCheck %s --check-prefix=FILE

// 12 columns: 6 of them take turns on every word of weights, since 8 and 7 do not divide 12. Each has accumulators.
// CHECK-LABEL: func.func @main
// CHECK: %[[SUMS:.+]] = memref.alloca() : memref<6x2xi32>
// CHECK: affine.for %[[O:.+]] = 0 to 2 {
// CHECK-NEXT: affine.for %[[Y:.+]] = 0 to 3 {
// CHECK-NEXT: affine.for %[[T:.+]] = 0 to 2 {
// CHECK-NEXT: affine.for %[[P:.+]] = 0 to 6 {
// CHECK-NEXT: affine.parallel (%[[L:.+]]) = (0) to (2) {
// CHECK-NEXT: affine.store %{{.+}}, %[[SUMS]][%[[P]], %[[L]]] : memref<6x2xi32>
// CHECK: affine.for %[[K:.+]] = 0 to 3 {
// CHECK-NEXT: affine.for %[[P:.+]] = 0 to 6 {
// CHECK-NEXT: affine.parallel (%[[L:.+]]) = (0) to (2) {
// CHECK: affine.if #{{.+}}(%[[Y]], %[[K]])
// CHECK-NEXT: affine.load %{{.+}}[%[[Y]] + %[[K]] - 1, %[[T]] * 6 + %[[P]], %{{.+}}] : memref<3x12x2xi8>
// CHECK: affine.load %{{.+}}[%[[O]], %[[K]], %[[L]], %{{.+}}] : memref<2x3x2x2xi8>
// CHECK: affine.load %[[SUMS]][%[[P]], %[[L]]]
// CHECK: affine.store %{{.+}}, %[[SUMS]][%[[P]], %[[L]]]
// CHECK: affine.for %[[P:.+]] = 0 to 6 {
// CHECK-NEXT: affine.parallel (%[[L:.+]]) = (0) to (2) {
// CHECK-NEXT: affine.load %[[SUMS]][%[[P]], %[[L]]]
// CHECK-NEXT: affine.store %{{.+}}, %{{.+}}[%[[Y]], %[[T]] * 6 + %[[P]], %[[O]] * 2 + %[[L]]] : memref<3x12x4xi32>
// CHECK: } {gradcam.loops = ["oc", "y", "x/6", "ky", "x%6"]}

// All 4 columns of the other convolution take turns: no loop from tile to tile is left.
// CHECK: affine.for %{{.+}} = 0 to 1 {
// CHECK-NEXT: affine.for %{{.+}} = 0 to 4 {
// CHECK-NEXT: affine.parallel (%{{.+}}) = (0) to (2) {
// CHECK: } {gradcam.loops = ["d0", "ky", "x"]}

// A nest that a schedule names keeps its loops.
// FILE-LABEL: func.func @main
// FILE: affine.for %{{.+}} = 0 to 12 {
// FILE-NOT: gradcam.loops
// FILE: affine.for %{{.+}} = 0 to 1 {
// FILE-NEXT: affine.for %{{.+}} = 0 to 4 {
// FILE-NEXT: affine.parallel
// FILE: } {gradcam.loops = ["d0", "ky", "x"]}

#inside = affine_set<(d0, d1) : (d0 + d1 - 1 >= 0, -d0 - d1 + 3 >= 0)>
memref.global "private" constant @w : memref<2x3x2x2xi8> = dense<1>
memref.global "private" constant @v : memref<3x2x2xi8> = dense<1>
func.func @main(%image: memref<3x12x2xi8>, %out: memref<3x12x4xi32>) {
  %zero = arith.constant 0 : i32
  %pad = arith.constant 0 : i8
  %w = memref.get_global @w : memref<2x3x2x2xi8>
  %v = memref.get_global @v : memref<3x2x2xi8>
  %sums = memref.alloca() : memref<2xi32>
  %sums2 = memref.alloca() : memref<2xi32>
  %x = memref.alloc() : memref<3x12x2xi8>
  %y = memref.alloc() : memref<3x12x4xi32>
  %z = memref.alloc() : memref<1x4x2xi32>
  affine.for %o = 0 to 2 {
    affine.for %h = 0 to 3 {
      affine.for %c = 0 to 12 {
        affine.parallel (%l) = (0) to (2) {
          affine.store %zero, %sums[%l] : memref<2xi32>
        }
        affine.for %k = 0 to 3 {
          affine.parallel (%l) = (0) to (2) {
            %s = affine.parallel (%j) = (0) to (2) reduce ("addi") -> (i32) {
              %a = affine.if #inside(%h, %k) -> i8 {
                %a = affine.load %x[%h + %k - 1, %c, %j] : memref<3x12x2xi8>
                affine.yield %a : i8
              } else {
                affine.yield %pad : i8
              }
              %b = affine.load %w[%o, %k, %l, %j] : memref<2x3x2x2xi8>
              %p = arith.muli %a, %b : i8
              %e = arith.extsi %p : i8 to i32
              affine.yield %e : i32
            }
            %n = affine.load %sums[%l] : memref<2xi32>
            %t = arith.addi %n, %s : i32
            affine.store %t, %sums[%l] : memref<2xi32>
          }
        }
        affine.parallel (%l) = (0) to (2) {
          %r = affine.load %sums[%l] : memref<2xi32>
          affine.store %r, %y[%h, %c, %o * 2 + %l] : memref<3x12x4xi32>
        }
      }
    }
  } loc("conv")
  affine.for %h = 0 to 1 {
    affine.for %c = 0 to 4 {
      affine.parallel (%l) = (0) to (2) {
        affine.store %zero, %sums2[%l] : memref<2xi32>
      }
      affine.for %k = 0 to 3 {
        affine.parallel (%l) = (0) to (2) {
          %s = affine.parallel (%j) = (0) to (2) reduce ("addi") -> (i32) {
            %a = affine.load %x[%k, %c, %j] : memref<3x12x2xi8>
            %b = affine.load %v[%k, %l, %j] : memref<3x2x2xi8>
            %p = arith.muli %a, %b : i8
            %e = arith.extsi %p : i8 to i32
            affine.yield %e : i32
          }
          %n = affine.load %sums2[%l] : memref<2xi32>
          %t = arith.addi %n, %s : i32
          affine.store %t, %sums2[%l] : memref<2xi32>
        }
      }
      affine.parallel (%l) = (0) to (2) {
        %r = affine.load %sums2[%l] : memref<2xi32>
        affine.store %r, %z[0, %c, %l] : memref<1x4x2xi32>
      }
    }
  } loc("other")
  return
}

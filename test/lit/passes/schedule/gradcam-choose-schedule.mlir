// RUN: %gradcam_opt %s --gradcam-choose-schedule | FileCheck %s --check-prefix=ONCHIP
// RUN: %gradcam_opt %s --gradcam-set-platform=dram-width=64 --gradcam-choose-schedule | FileCheck %s --check-prefix=DRAM
// RUN: %gradcam_opt %s --gradcam-choose-schedule=file=%S/Inputs/choose-schedule.json | FileCheck %s --check-prefix=FILE

// A convolution whose rows are outermost. With weights on chip one order is as good as another. From DRAM, the weights
// of all output channels would have to stay in the ring: two tiles of 6 words take less than one of 24.
// ONCHIP-LABEL: func.func @main
// ONCHIP: affine.for %[[Y:.+]] = 0 to 8
// ONCHIP-NEXT: affine.for %[[O:.+]] = 0 to 4
// ONCHIP: affine.load %{{.+}}[%[[O]], %{{.+}}, %{{.+}}, %{{.+}}, %{{.+}}]
// ONCHIP: } {gradcam.loops = ["y", "oc", "ky", "ic"]}
// ONCHIP: } {gradcam.loops = ["d0", "d1"]}

// DRAM-LABEL: func.func @main
// DRAM: affine.for %[[O:.+]] = 0 to 4
// DRAM-NEXT: affine.for %[[Y:.+]] = 0 to 8
// DRAM: affine.load %{{.+}}[%[[O]], %{{.+}}, %{{.+}}, %{{.+}}, %{{.+}}]
// DRAM: } {gradcam.loops = ["oc", "y", "ky", "ic"]}

// Rows in tiles of 4; of the reduction, which is a sum, channels go outside. Guards and indices follow.
// FILE: #[[SET:.+]] = affine_set<(d0, d1, d2) : (d0 * 4 + d1 + d2 - 1 >= 0, d0 * -4 - d1 - d2 + 8 >= 0)>
// FILE-LABEL: func.func @main
// FILE: affine.for %[[T:.+]] = 0 to 2
// FILE-NEXT: affine.for %[[O:.+]] = 0 to 4
// FILE-NEXT: affine.for %[[Y:.+]] = 0 to 4
// FILE-NEXT: affine.parallel
// FILE: affine.for %[[I:.+]] = 0 to 2
// FILE-NEXT: affine.for %[[K:.+]] = 0 to 3
// FILE: affine.if #[[SET]](%[[T]], %[[Y]], %[[K]])
// FILE-NEXT: affine.load %{{.+}}[%[[T]] * 4 + %[[Y]] + %[[K]] - 1, 0, %[[I]] * 2 + %{{.+}}]
// FILE: affine.load %{{.+}}[%[[O]], %[[I]], %[[K]], %{{.+}}, %{{.+}}]
// FILE: affine.store %{{.+}}, %{{.+}}[%[[T]] * 4 + %[[Y]], 0, %[[O]] * 2 + %{{.+}}]
// FILE: } {gradcam.loops = ["y/4", "oc", "y%4", "ic", "ky"]}
// FILE: affine.for %[[D:.+]] = 0 to 5
// FILE-NEXT: affine.for %[[C:.+]] = 0 to 3
// FILE: } {gradcam.loops = ["d1", "d0"]}
#inside = affine_set<(d0, d1) : (d0 + d1 - 1 >= 0, -d0 - d1 + 8 >= 0)>
memref.global "private" constant @w : memref<4x2x3x2x2xi8> = dense<1>
func.func @main(%image: memref<8x1x4xi8>, %scores: memref<5x3xi8>, %out: memref<8x1x8xi32>) {
  %zero = arith.constant 0 : i32
  %pad = arith.constant 0 : i8
  %w = memref.get_global @w : memref<4x2x3x2x2xi8>
  %sums = memref.alloca() : memref<2xi32>
  %x = memref.alloc() : memref<8x1x4xi8>
  %y = memref.alloc() : memref<8x1x8xi32>
  %m = memref.alloc() : memref<5x3x1x1xi8>
  affine.for %h = 0 to 8 {
    affine.for %o = 0 to 4 {
      affine.parallel (%l) = (0) to (2) {
        affine.store %zero, %sums[%l] : memref<2xi32>
      }
      affine.for %k = 0 to 3 {
        affine.for %i = 0 to 2 {
          affine.parallel (%l) = (0) to (2) {
            %s = affine.parallel (%j) = (0) to (2) reduce ("addi") -> (i32) {
              %v = affine.if #inside(%h, %k) -> i8 {
                %a = affine.load %x[%h + %k - 1, 0, %i * 2 + %j] : memref<8x1x4xi8>
                affine.yield %a : i8
              } else {
                affine.yield %pad : i8
              }
              %b = affine.load %w[%o, %i, %k, %l, %j] : memref<4x2x3x2x2xi8>
              %c = arith.extsi %v : i8 to i16
              %d = arith.extsi %b : i8 to i16
              %p = arith.muli %c, %d : i16
              %e = arith.extsi %p : i16 to i32
              affine.yield %e : i32
            }
            %n = affine.load %sums[%l] : memref<2xi32>
            %t = arith.addi %n, %s : i32
            affine.store %t, %sums[%l] : memref<2xi32>
          }
        }
      }
      affine.parallel (%l) = (0) to (2) {
        %r = affine.load %sums[%l] : memref<2xi32>
        affine.store %r, %y[%h, 0, %o * 2 + %l] : memref<8x1x8xi32>
      }
    }
  } loc("conv")
  affine.for %a = 0 to 3 {
    affine.for %b = 0 to 5 {
      affine.parallel (%l) = (0) to (1) {
        %v = affine.load %m[%b, %a, 0, 0] : memref<5x3x1x1xi8>
        affine.store %v, %m[%b, %a, 0, 0] : memref<5x3x1x1xi8>
      }
    }
  } loc("first")
  return
}

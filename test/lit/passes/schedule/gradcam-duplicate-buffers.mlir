// RUN: %gradcam_opt %s --gradcam-duplicate-buffers --split-input-file | FileCheck %s
// RUN: %gradcam_opt %s --gradcam-duplicate-buffers --split-input-file --gradcam-plan-memory -o /dev/null

// x(i) + x(i + 1) reads x twice per step: its producer writes a second copy, in the same step.
// CHECK-LABEL: func.func @twice
// CHECK: %[[A:.+]] = memref.alloc() : memref<8xi8>
// CHECK-NEXT: %[[B:.+]] = memref.alloc() : memref<8xi8>
// CHECK: affine.parallel
// CHECK-NEXT: %[[V:.+]] = affine.load %arg0
// CHECK-NEXT: affine.store %[[V]], %[[A]][%[[I:.+]]]
// CHECK-NEXT: affine.store %[[V]], %[[B]][%[[I]]]
// CHECK: affine.for %[[J:.+]] = 0 to 7
// CHECK: affine.load %[[A]][%[[J]]]
// CHECK-NEXT: affine.load %[[B]][%[[J]] + 1]
// A nest that reads x once keeps the first.
// CHECK: affine.for %[[K:.+]] = 0 to 8
// CHECK: affine.load %[[A]][%[[K]]]
func.func @twice(%image: memref<8xi8>, %out: memref<7xi8>, %same: memref<8xi8>) {
  %x = memref.alloc() : memref<8xi8>
  %y = memref.alloc() : memref<7xi8>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %image[%i] : memref<8xi8>
      affine.store %v, %x[%i] : memref<8xi8>
    }
  }
  affine.for %i = 0 to 7 {
    affine.parallel (%l) = (0) to (1) {
      %a = affine.load %x[%i] : memref<8xi8>
      %b = affine.load %x[%i + 1] : memref<8xi8>
      %n = arith.addi %a, %b : i8
      affine.store %n, %y[%i] : memref<7xi8>
    }
  }
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %x[%i] : memref<8xi8>
      affine.store %v, %same[%i] : memref<8xi8>
    }
  }
  return
}

// -----

// A store that does not always happen: neither does that of the copy.
// CHECK-LABEL: func.func @guarded
// CHECK: %[[A:.+]] = memref.alloc() : memref<8xi8>
// CHECK-NEXT: %[[B:.+]] = memref.alloc() : memref<8xi8>
// CHECK: affine.if #[[SET:.+]](%[[I:.+]]) {
// CHECK-NEXT: affine.store %[[V:.+]], %[[A]][%[[I]] - 1]
// CHECK-NEXT: }
// CHECK-NEXT: affine.if #[[SET]](%[[I]]) {
// CHECK-NEXT: affine.store %[[V]], %[[B]][%[[I]] - 1]
// CHECK-NEXT: }
// CHECK: affine.load %[[A]]
// CHECK-NEXT: affine.load %[[B]]
#first = affine_set<(d0) : (d0 - 1 >= 0)>
func.func @guarded(%image: memref<9xi8>, %out: memref<7xi8>) {
  %x = memref.alloc() : memref<8xi8>
  affine.for %i = 0 to 9 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %image[%i] : memref<9xi8>
      affine.if #first(%i) {
        affine.store %v, %x[%i - 1] : memref<8xi8>
      }
    }
  }
  affine.for %i = 0 to 7 {
    affine.parallel (%l) = (0) to (1) {
      %a = affine.load %x[%i] : memref<8xi8>
      %b = affine.load %x[%i + 1] : memref<8xi8>
      %n = arith.addi %a, %b : i8
      affine.store %n, %out[%i] : memref<7xi8>
    }
  }
  return
}

// -----

// A constant is referred to twice; a register and an argument have as many ports as they need.
// CHECK-LABEL: func.func @kinds
// CHECK: %[[A:.+]] = memref.get_global @w : memref<8xi8>
// CHECK-NEXT: %[[B:.+]] = memref.get_global @w : memref<8xi8>
// CHECK: memref.alloc() : memref<1xi8>
// CHECK-NOT: memref.alloc
// CHECK: affine.load %[[A]]
// CHECK-NEXT: affine.load %[[B]]
memref.global "private" constant @w : memref<8xi8> = dense<3>
func.func @kinds(%p: memref<1xi8>) {
  %w = memref.get_global @w : memref<8xi8>
  %r = memref.alloc() : memref<1xi8>
  affine.for %i = 0 to 7 {
    affine.parallel (%l) = (0) to (1) {
      %a = affine.load %w[%i] : memref<8xi8>
      %b = affine.load %w[%i + 1] : memref<8xi8>
      %c = affine.load %r[0] : memref<1xi8>
      %d = affine.load %r[0] : memref<1xi8>
      %e = affine.load %p[0] : memref<1xi8>
      %f = affine.load %p[0] : memref<1xi8>
      %0 = arith.addi %a, %b : i8
      %1 = arith.addi %c, %d : i8
      %2 = arith.addi %e, %f : i8
      %3 = arith.addi %0, %1 : i8
      %4 = arith.addi %2, %3 : i8
      affine.store %4, %r[0] : memref<1xi8>
    }
  }
  return
}

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

// -----

// An even and an odd column in each step: each buffer keeps those that are read of it, and the columns are walked in pairs.
// CHECK-DAG: #[[EVEN:.+]] = affine_set<(d0) : (-d0 >= 0)>
// CHECK-DAG: #[[ODD:.+]] = affine_set<(d0) : (d0 - 1 >= 0)>
// CHECK-LABEL: func.func @columns
// CHECK: %[[A:.+]] = memref.alloc() : memref<3x4x2xi8>
// CHECK-NEXT: %[[B:.+]] = memref.alloc() : memref<3x4x2xi8>
// CHECK: affine.for %[[H:.+]] = 0 to 3
// CHECK-NEXT: affine.for %[[PAIR:.+]] = 0 to 4
// CHECK-NEXT: affine.for %[[W:.+]] = 0 to 2
// CHECK: %[[V:.+]] = affine.load %arg0[%[[H]], %[[PAIR]] * 2 + %[[W]], %[[L:.+]]]
// CHECK-NEXT: affine.if #[[EVEN]](%[[W]]) {
// CHECK-NEXT: affine.store %[[V]], %[[A]][%[[H]], %[[PAIR]], %[[L]]]
// CHECK: affine.if #[[ODD]](%[[W]]) {
// CHECK-NEXT: affine.store %[[V]], %[[B]][%[[H]], %[[PAIR]], %[[L]]]
// CHECK: gradcam.loops = ["y", "x/2", "x%2"]
// CHECK: affine.for %[[H:.+]] = 0 to 3
// CHECK-NEXT: affine.for %[[U:.+]] = 0 to 3
// CHECK: affine.load %[[A]][%[[H]], %[[U]], %{{.+}}]
// CHECK-NEXT: affine.load %[[B]][%[[H]], %[[U]] + 1, %{{.+}}]
func.func @columns(%image: memref<3x8x2xi8>, %out: memref<3x3x2xi8>) {
  %x = memref.alloc() : memref<3x8x2xi8>
  affine.for %h = 0 to 3 {
    affine.for %w = 0 to 8 {
      affine.parallel (%l) = (0) to (2) {
        %v = affine.load %image[%h, %w, %l] : memref<3x8x2xi8>
        affine.store %v, %x[%h, %w, %l] : memref<3x8x2xi8>
      }
    }
  }
  affine.for %h = 0 to 3 {
    affine.for %u = 0 to 3 {
      affine.parallel (%l) = (0) to (2) {
        %a = affine.load %x[%h, %u * 2, %l] : memref<3x8x2xi8>
        %b = affine.load %x[%h, %u * 2 + 3, %l] : memref<3x8x2xi8>
        %n = arith.addi %a, %b : i8
        affine.store %n, %out[%h, %u, %l] : memref<3x3x2xi8>
      }
    }
  }
  return
}

// -----

// Another nest reads every column of the first copy: only the second one is halved.
// CHECK-LABEL: func.func @all_columns
// CHECK: memref.alloc() : memref<2x4x2xi8>
// CHECK-NEXT: memref.alloc() : memref<2x2x2xi8>
func.func @all_columns(%image: memref<2x4x2xi8>, %out: memref<2x2x2xi8>, %same: memref<2x4x2xi8>) {
  %x = memref.alloc() : memref<2x4x2xi8>
  affine.for %h = 0 to 2 {
    affine.for %w = 0 to 4 {
      affine.parallel (%l) = (0) to (2) {
        %v = affine.load %image[%h, %w, %l] : memref<2x4x2xi8>
        affine.store %v, %x[%h, %w, %l] : memref<2x4x2xi8>
      }
    }
  }
  affine.for %h = 0 to 2 {
    affine.for %u = 0 to 2 {
      affine.parallel (%l) = (0) to (2) {
        %a = affine.load %x[%h, %u * 2, %l] : memref<2x4x2xi8>
        %b = affine.load %x[%h, %u * 2 + 1, %l] : memref<2x4x2xi8>
        %n = arith.addi %a, %b : i8
        affine.store %n, %out[%h, %u, %l] : memref<2x2x2xi8>
      }
    }
  }
  affine.for %h = 0 to 2 {
    affine.for %w = 0 to 4 {
      affine.parallel (%l) = (0) to (2) {
        %v = affine.load %x[%h, %w, %l] : memref<2x4x2xi8>
        affine.store %v, %same[%h, %w, %l] : memref<2x4x2xi8>
      }
    }
  }
  return
}

// -----

// Of columns that are odd in number, the last one has no partner.
// CHECK-LABEL: func.func @odd_columns
// CHECK-COUNT-2: memref.alloc() : memref<2x5x2xi8>
func.func @odd_columns(%image: memref<2x5x2xi8>, %out: memref<2x2x2xi8>) {
  %x = memref.alloc() : memref<2x5x2xi8>
  affine.for %h = 0 to 2 {
    affine.for %w = 0 to 5 {
      affine.parallel (%l) = (0) to (2) {
        %v = affine.load %image[%h, %w, %l] : memref<2x5x2xi8>
        affine.store %v, %x[%h, %w, %l] : memref<2x5x2xi8>
      }
    }
  }
  affine.for %h = 0 to 2 {
    affine.for %u = 0 to 2 {
      affine.parallel (%l) = (0) to (2) {
        %a = affine.load %x[%h, %u * 2, %l] : memref<2x5x2xi8>
        %b = affine.load %x[%h, %u * 2 + 1, %l] : memref<2x5x2xi8>
        %n = arith.addi %a, %b : i8
        affine.store %n, %out[%h, %u, %l] : memref<2x2x2xi8>
      }
    }
  }
  return
}

// -----

// A reduction reads words of 256 weights, an elementwise nest one weight at a time: a memory of its own is worth less than
// the choice of one of 256.
// CHECK-LABEL: func.func @narrow
// CHECK: %[[WIDE:.+]] = memref.get_global @narrow_w
// CHECK-NEXT: %[[COPY:.+]] = memref.get_global @narrow_w
// CHECK: affine.load %[[WIDE]]
// CHECK: affine.load %[[COPY]]
memref.global "private" constant @narrow_w : memref<2x16x16xi8> = dense<3>
func.func @narrow(%x: memref<16xi8>, %out: memref<16xi8>, %same: memref<16xi8>) {
  %c0 = arith.constant 0 : i8
  %w = memref.get_global @narrow_w : memref<2x16x16xi8>
  %acc = memref.alloca() : memref<16xi8>
  affine.for %y = 0 to 1 {
    affine.parallel (%o) = (0) to (16) {
      affine.store %c0, %acc[%o] : memref<16xi8>
    }
    affine.for %t = 0 to 2 {
      affine.parallel (%o) = (0) to (16) {
        %s = affine.parallel (%i) = (0) to (16) reduce ("addi") -> (i8) {
          %v = affine.load %x[%i] : memref<16xi8>
          %f = affine.load %w[%t, %o, %i] : memref<2x16x16xi8>
          %p = arith.muli %v, %f : i8
          affine.yield %p : i8
        }
        %a = affine.load %acc[%o] : memref<16xi8>
        %n = arith.addi %a, %s : i8
        affine.store %n, %acc[%o] : memref<16xi8>
      }
    }
    affine.parallel (%o) = (0) to (16) {
      %a = affine.load %acc[%o] : memref<16xi8>
      affine.store %a, %out[%o] : memref<16xi8>
    }
  }
  affine.for %c = 0 to 16 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %w[0, 0, %c] : memref<2x16x16xi8>
      affine.store %v, %same[%c] : memref<16xi8>
    }
  }
  return
}

// -----

// Of 64 words of 8 weights, one weight at a time is chosen.
// CHECK-LABEL: func.func @chosen
// CHECK-COUNT-1: memref.get_global
// CHECK-NOT: memref.get_global
memref.global "private" constant @chosen_w : memref<64x2x4xi8> = dense<3>
func.func @chosen(%x: memref<4xi8>, %out: memref<2xi8>, %same: memref<4xi8>) {
  %c0 = arith.constant 0 : i8
  %w = memref.get_global @chosen_w : memref<64x2x4xi8>
  %acc = memref.alloca() : memref<2xi8>
  affine.for %y = 0 to 1 {
    affine.parallel (%o) = (0) to (2) {
      affine.store %c0, %acc[%o] : memref<2xi8>
    }
    affine.for %t = 0 to 2 {
      affine.parallel (%o) = (0) to (2) {
        %s = affine.parallel (%i) = (0) to (4) reduce ("addi") -> (i8) {
          %v = affine.load %x[%i] : memref<4xi8>
          %f = affine.load %w[%t, %o, %i] : memref<64x2x4xi8>
          %p = arith.muli %v, %f : i8
          affine.yield %p : i8
        }
        %a = affine.load %acc[%o] : memref<2xi8>
        %n = arith.addi %a, %s : i8
        affine.store %n, %acc[%o] : memref<2xi8>
      }
    }
    affine.parallel (%o) = (0) to (2) {
      %a = affine.load %acc[%o] : memref<2xi8>
      affine.store %a, %out[%o] : memref<2xi8>
    }
  }
  affine.for %c = 0 to 4 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %w[0, 0, %c] : memref<64x2x4xi8>
      affine.store %v, %same[%c] : memref<4xi8>
    }
  }
  return
}

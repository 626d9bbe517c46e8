// RUN: %gradcam_opt %s --gradcam-overlap-nests --split-input-file | FileCheck %s
// RUN: %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-set-platform{dram-width=64},gradcam-overlap-nests)' --split-input-file | FileCheck %s --check-prefix=LATE

// Every step waits for the pixel that it reads: that of row 2 * d0 + d2 and column 2 * d1 + d3, of 4 columns. Nothing else
// reads the pixels, and of the 8 rows no more than one is alive: 4 pixels of 2 channels.
// CHECK: #[[NEED:.+]] = affine_map<(d0, d1, d2, d3) -> (d0 * 8 + d1 * 2 + d2 * 4 + d3 + 1)>
// CHECK-LABEL: func.func @pool
// CHECK: memref.alloc() {gradcam.ring = 8 : i64} : memref<8x4x2xi8>
// CHECK: memref.alloc() : memref<4x2x2xi8>
// CHECK: {gradcam.counted = 2 : i64, gradcam.engine = "mac", gradcam.epilogue = "0"}
// CHECK: {gradcam.engine = "max", gradcam.epilogue = "0", gradcam.follows = #[[NEED]]}
// What writes a stream may be stalled, so it follows nothing.
// CHECK: {gradcam.engine = "store", gradcam.epilogue = "0"}
func.func @pool(%x: memref<3x2xi8>, %out: memref<4x2x2xi8>) {
  %c0 = arith.constant 0 : i8
  %y = memref.alloc() : memref<8x4x2xi8>
  %z = memref.alloc() : memref<4x2x2xi8>
  %acc = memref.alloca() : memref<2xi8>
  affine.for %h = 0 to 8 {
    affine.for %w = 0 to 4 {
      affine.parallel (%l) = (0) to (2) {
        affine.store %c0, %acc[%l] : memref<2xi8>
      }
      affine.for %k = 0 to 3 {
        affine.parallel (%l) = (0) to (2) {
          %v = affine.load %x[%k, %l] : memref<3x2xi8>
          %a = affine.load %acc[%l] : memref<2xi8>
          %n = arith.addi %a, %v : i8
          affine.store %n, %acc[%l] : memref<2xi8>
        }
      }
      affine.parallel (%l) = (0) to (2) {
        %a = affine.load %acc[%l] : memref<2xi8>
        affine.store %a, %y[%h, %w, %l] : memref<8x4x2xi8>
      }
    }
  } {gradcam.engine = "mac", gradcam.epilogue = "0"}
  affine.for %h = 0 to 4 {
    affine.for %w = 0 to 2 {
      affine.parallel (%l) = (0) to (2) {
        affine.store %c0, %acc[%l] : memref<2xi8>
      }
      affine.for %i = 0 to 2 {
        affine.for %j = 0 to 2 {
          affine.parallel (%l) = (0) to (2) {
            %v = affine.load %y[%h * 2 + %i, %w * 2 + %j, %l] : memref<8x4x2xi8>
            %a = affine.load %acc[%l] : memref<2xi8>
            %n = arith.maxsi %a, %v : i8
            affine.store %n, %acc[%l] : memref<2xi8>
          }
        }
      }
      affine.parallel (%l) = (0) to (2) {
        %a = affine.load %acc[%l] : memref<2xi8>
        affine.store %a, %z[%h, %w, %l] : memref<4x2x2xi8>
      }
    }
  } {gradcam.engine = "max", gradcam.epilogue = "0"}
  affine.for %h = 0 to 4 {
    affine.for %w = 0 to 2 {
      affine.parallel (%l) = (0) to (2) {
        %v = affine.load %z[%h, %w, %l] : memref<4x2x2xi8>
        affine.store %v, %out[%h, %w, %l] : memref<4x2x2xi8>
      }
    }
  } {gradcam.engine = "store", gradcam.epilogue = "0"}
  return
}

// -----

// Another nest reads %y later on: it is kept whole. A nest that follows another is itself followed.
// CHECK: #[[NEED:.+]] = affine_map<(d0) -> (d0 + 1)>
// CHECK-LABEL: func.func @two_readers
// CHECK: memref.alloc() : memref<8x2xi8>
// CHECK: memref.alloc() : memref<8x2xi8>
// CHECK: memref.alloc() {gradcam.ring = 4 : i64} : memref<8x2xi8>
// CHECK: gradcam.counted = 1 : i64, gradcam.engine = "load"
// CHECK: gradcam.counted = 1 : i64, gradcam.engine = "elementwise", gradcam.epilogue = "0", gradcam.follows = #[[NEED]]
// CHECK: {gradcam.engine = "other", gradcam.epilogue = "0", gradcam.follows = #[[NEED]]}
func.func @two_readers(%image: memref<8x2xi8>, %out: memref<8x2xi8>) {
  %x = memref.alloc() : memref<8x2xi8>
  %y = memref.alloc() : memref<8x2xi8>
  %z = memref.alloc() : memref<8x2xi8>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %image[%i, %l] : memref<8x2xi8>
      %n = arith.addi %v, %v : i8
      affine.store %n, %y[%i, %l] : memref<8x2xi8>
    }
  } {gradcam.engine = "load", gradcam.epilogue = "0"}
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %y[%i, %l] : memref<8x2xi8>
      %n = arith.addi %v, %v : i8
      affine.store %n, %z[%i, %l] : memref<8x2xi8>
    }
  } {gradcam.engine = "elementwise", gradcam.epilogue = "0"}
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %z[%i, %l] : memref<8x2xi8>
      %n = arith.addi %v, %v : i8
      affine.store %n, %x[%i, %l] : memref<8x2xi8>
    }
  } {gradcam.engine = "other", gradcam.epilogue = "0"}
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %y[%i, %l] : memref<8x2xi8>
      %n = arith.addi %v, %v : i8
      affine.store %n, %out[%i, %l] : memref<8x2xi8>
    }
  } {gradcam.engine = "store", gradcam.epilogue = "0"}
  return
}

// -----

// The last element is wanted first.
// CHECK-LABEL: func.func @in_another_order
// CHECK-NOT: gradcam.ring
// CHECK-NOT: gradcam.counted
// CHECK-NOT: gradcam.follows
// CHECK: return
func.func @in_another_order(%image: memref<8x2xi8>, %out: memref<8x2xi8>) {
  %y = memref.alloc() : memref<8x2xi8>
  %z = memref.alloc() : memref<8x2xi8>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %image[%i, %l] : memref<8x2xi8>
      %n = arith.addi %v, %v : i8
      affine.store %n, %y[%i, %l] : memref<8x2xi8>
    }
  } {gradcam.engine = "load", gradcam.epilogue = "0"}
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %y[-%i + 7, %l] : memref<8x2xi8>
      %n = arith.addi %v, %v : i8
      affine.store %n, %z[%i, %l] : memref<8x2xi8>
    }
  } {gradcam.engine = "elementwise", gradcam.epilogue = "0"}
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %z[%i, %l] : memref<8x2xi8>
      %n = arith.addi %v, %v : i8
      affine.store %n, %out[%i, %l] : memref<8x2xi8>
    }
  } {gradcam.engine = "store", gradcam.epilogue = "0"}
  return
}

// -----

// CHECK-LABEL: func.func @on_one_engine
// CHECK-NOT: gradcam.ring
// CHECK-NOT: gradcam.counted
// CHECK-NOT: gradcam.follows
// CHECK: return
func.func @on_one_engine(%image: memref<8x2xi8>, %out: memref<8x2xi8>) {
  %y = memref.alloc() : memref<8x2xi8>
  %z = memref.alloc() : memref<8x2xi8>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %image[%i, %l] : memref<8x2xi8>
      %n = arith.addi %v, %v : i8
      affine.store %n, %y[%i, %l] : memref<8x2xi8>
    }
  } {gradcam.engine = "load", gradcam.epilogue = "0"}
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %y[%i, %l] : memref<8x2xi8>
      %n = arith.addi %v, %v : i8
      affine.store %n, %z[%i, %l] : memref<8x2xi8>
    }
  } {gradcam.engine = "load", gradcam.epilogue = "0"}
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %z[%i, %l] : memref<8x2xi8>
      %n = arith.addi %v, %v : i8
      affine.store %n, %out[%i, %l] : memref<8x2xi8>
    }
  } {gradcam.engine = "store", gradcam.epilogue = "0"}
  return
}

// -----

// Constants may come late from DRAM: then the buffer that the nest reads is kept whole. Of an issue group only one nest
// reads a constant, since a memory has one read port.
// CHECK: #[[NEED:.+]] = affine_map<(d0) -> (d0 + 1)>
// CHECK-LABEL: func.func @with_constants
// CHECK: memref.alloc() {gradcam.ring = 4 : i64} : memref<8x2xi8>
// CHECK: gradcam.engine = "elementwise", gradcam.epilogue = "0", gradcam.follows = #[[NEED]]
// CHECK: {gradcam.engine = "other", gradcam.epilogue = "0"}
// LATE-LABEL: func.func @with_constants
// LATE-NOT: gradcam.ring
// LATE: gradcam.engine = "elementwise", gradcam.epilogue = "0", gradcam.follows = #{{.+}}
// LATE: {gradcam.engine = "other", gradcam.epilogue = "0"}
memref.global "private" constant @w : memref<8x2xi8> = dense<3>
func.func @with_constants(%image: memref<8x2xi8>, %out: memref<8x2xi8>) {
  %w = memref.get_global @w : memref<8x2xi8>
  %y = memref.alloc() : memref<8x2xi8>
  %z = memref.alloc() : memref<8x2xi8>
  %t = memref.alloc() : memref<8x2xi8>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %image[%i, %l] : memref<8x2xi8>
      %n = arith.addi %v, %v : i8
      affine.store %n, %y[%i, %l] : memref<8x2xi8>
    }
  } {gradcam.engine = "load", gradcam.epilogue = "0"}
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %y[%i, %l] : memref<8x2xi8>
      %u = affine.load %w[%i, %l] : memref<8x2xi8>
      %n = arith.addi %v, %u : i8
      affine.store %n, %z[%i, %l] : memref<8x2xi8>
    }
  } {gradcam.engine = "elementwise", gradcam.epilogue = "0"}
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %z[%i, %l] : memref<8x2xi8>
      %u = affine.load %w[%i, %l] : memref<8x2xi8>
      %n = arith.addi %v, %u : i8
      affine.store %n, %t[%i, %l] : memref<8x2xi8>
    }
  } {gradcam.engine = "other", gradcam.epilogue = "0"}
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %t[%i, %l] : memref<8x2xi8>
      %n = arith.addi %v, %v : i8
      affine.store %n, %out[%i, %l] : memref<8x2xi8>
    }
  } {gradcam.engine = "store", gradcam.epilogue = "0"}
  return
}

// -----

// Rows 0 to 3 of what it reads are there already; only rows 4 to 7 come from the nest before it. What two nests write is
// no ring. The linear form waits for more than it needs: for row d0 before row d0 + 4.
// CHECK: #[[NEED:.+]] = affine_map<(d0) -> (d0)>
// CHECK-LABEL: func.func @two_writers
// CHECK-NOT: gradcam.ring
// CHECK: gradcam.engine = "other", gradcam.epilogue = "0", gradcam.follows
// CHECK: gradcam.counted = 1 : i64, gradcam.engine = "first", gradcam.epilogue = "0"}
// CHECK: gradcam.engine = "elementwise", gradcam.epilogue = "0", gradcam.follows = #[[NEED]]}
func.func @two_writers(%image: memref<8x2xi8>, %out: memref<8x2xi8>) {
  %x = memref.alloc() : memref<8x2xi8>
  %y = memref.alloc() : memref<8x2xi8>
  %z = memref.alloc() : memref<8x2xi8>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %image[%i, %l] : memref<8x2xi8>
      %n = arith.addi %v, %v : i8
      affine.store %n, %x[%i, %l] : memref<8x2xi8>
    }
  } {gradcam.engine = "load", gradcam.epilogue = "0"}
  affine.for %i = 0 to 4 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %x[%i, %l] : memref<8x2xi8>
      %n = arith.addi %v, %v : i8
      affine.store %n, %y[%i, %l] : memref<8x2xi8>
    }
  } {gradcam.engine = "other", gradcam.epilogue = "0"}
  affine.for %i = 0 to 4 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %x[%i + 4, %l] : memref<8x2xi8>
      %n = arith.addi %v, %v : i8
      affine.store %n, %y[%i + 4, %l] : memref<8x2xi8>
    }
  } {gradcam.engine = "first", gradcam.epilogue = "0"}
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %y[%i, %l] : memref<8x2xi8>
      %n = arith.addi %v, %v : i8
      affine.store %n, %z[%i, %l] : memref<8x2xi8>
    }
  } {gradcam.engine = "elementwise", gradcam.epilogue = "0"}
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %z[%i, %l] : memref<8x2xi8>
      %n = arith.addi %v, %v : i8
      affine.store %n, %out[%i, %l] : memref<8x2xi8>
    }
  } {gradcam.engine = "store", gradcam.epilogue = "0"}
  return
}

// -----

// The second nest is three times as long as the first one. The third one, on the engine of the first, runs beside it as
// soon as that engine is free, and reads behind it; what it also reads was written before. With the rows outermost it
// need not wait for the last channels of the whole map: channels d2 of pixel (d0, d1) come in iteration 8 * d0 + d1 + 4
// * d2. It starts when its engine lets it, so it reads no ring.
// CHECK: #[[SECOND:.+]] = affine_map<(d0, d1, d2) -> (d0 * 8 + d1 * 4 + d2 + 1)>
// CHECK: #[[THIRD:.+]] = affine_map<(d0, d1, d2) -> (d0 * 8 + d1 + d2 * 4 + 1)>
// CHECK-LABEL: func.func @three
// CHECK-NOT: gradcam.ring
// CHECK: {gradcam.engine = "load", gradcam.epilogue = "0"}
// CHECK-NEXT: affine.for %[[Y:.+]] = 0 to 4 {
// CHECK-NEXT: affine.for %[[OC:.+]] = 0 to 2 {
// CHECK: affine.store %{{.+}}, %{{.+}}[%[[Y]], %{{.+}}, %[[OC]] * 2 + %{{.+}}]
// CHECK: {gradcam.counted = 3 : i64, gradcam.engine = "mac", gradcam.epilogue = "0", gradcam.loops = ["y", "oc", "x"]}
// CHECK: {gradcam.counted = 3 : i64, gradcam.engine = "depthwise", gradcam.epilogue = "0", gradcam.follows = #[[SECOND]], gradcam.loops = ["y", "oc", "x", "d3"]}
// CHECK: {gradcam.engine = "mac", gradcam.epilogue = "1", gradcam.follows = #[[THIRD]], gradcam.loops = ["y", "x", "ic"]}
func.func @three(%image: memref<4x4x4xi8>, %out: memref<4x4x2xi8>) {
  %c0 = arith.constant 0 : i8
  %x = memref.alloc() : memref<4x4x4xi8>
  %y = memref.alloc() : memref<4x4x4xi8>
  %z = memref.alloc() : memref<4x4x4xi8>
  %u = memref.alloc() : memref<4x4x2xi8>
  %acc = memref.alloca() : memref<2xi8>
  affine.for %h = 0 to 4 {
    affine.for %w = 0 to 4 {
      affine.for %t = 0 to 2 {
        affine.parallel (%l) = (0) to (2) {
          %v = affine.load %image[%h, %w, %t * 2 + %l] : memref<4x4x4xi8>
          affine.store %v, %x[%h, %w, %t * 2 + %l] : memref<4x4x4xi8>
        }
      }
    }
  } {gradcam.engine = "load", gradcam.epilogue = "0"}
  affine.for %t = 0 to 2 {
    affine.for %h = 0 to 4 {
      affine.for %w = 0 to 4 {
        affine.parallel (%l) = (0) to (2) {
          %v = affine.load %x[%h, %w, %t * 2 + %l] : memref<4x4x4xi8>
          affine.store %v, %y[%h, %w, %t * 2 + %l] : memref<4x4x4xi8>
        }
      }
    }
  } {gradcam.engine = "mac", gradcam.epilogue = "0"}
  affine.for %t = 0 to 2 {
    affine.for %h = 0 to 4 {
      affine.for %w = 0 to 4 {
        affine.parallel (%l) = (0) to (2) {
          affine.store %c0, %acc[%l] : memref<2xi8>
        }
        affine.for %k = 0 to 3 {
          affine.parallel (%l) = (0) to (2) {
            %v = affine.load %y[%h, %w, %t * 2 + %l] : memref<4x4x4xi8>
            %a = affine.load %acc[%l] : memref<2xi8>
            %n = arith.addi %a, %v : i8
            affine.store %n, %acc[%l] : memref<2xi8>
          }
        }
        affine.parallel (%l) = (0) to (2) {
          %a = affine.load %acc[%l] : memref<2xi8>
          affine.store %a, %z[%h, %w, %t * 2 + %l] : memref<4x4x4xi8>
        }
      }
    }
  } {gradcam.engine = "depthwise", gradcam.epilogue = "0"}
  affine.for %h = 0 to 4 {
    affine.for %w = 0 to 4 {
      affine.parallel (%l) = (0) to (2) {
        affine.store %c0, %acc[%l] : memref<2xi8>
      }
      affine.for %k = 0 to 2 {
        affine.parallel (%l) = (0) to (2) {
          %v = affine.load %z[%h, %w, %k * 2 + %l] : memref<4x4x4xi8>
          %a = affine.load %acc[%l] : memref<2xi8>
          %n = arith.addi %a, %v : i8
          affine.store %n, %acc[%l] : memref<2xi8>
        }
      }
      affine.parallel (%l) = (0) to (2) {
        %a = affine.load %acc[%l] : memref<2xi8>
        %r = affine.load %x[%h, %w, %l] : memref<4x4x4xi8>
        %b = arith.addi %a, %r : i8
        affine.store %b, %u[%h, %w, %l] : memref<4x4x2xi8>
      }
    }
  } {gradcam.engine = "mac", gradcam.epilogue = "1"}
  affine.for %h = 0 to 4 {
    affine.for %w = 0 to 4 {
      affine.parallel (%l) = (0) to (2) {
        %v = affine.load %u[%h, %w, %l] : memref<4x4x2xi8>
        affine.store %v, %out[%h, %w, %l] : memref<4x4x2xi8>
      }
    }
  } {gradcam.engine = "store", gradcam.epilogue = "0"}
  return
}

// -----

// What the second nest reads has no second read port.
// CHECK-LABEL: func.func @three_of_one_port
// CHECK: gradcam.engine = "depthwise", gradcam.epilogue = "0", gradcam.follows
// CHECK: {gradcam.engine = "mac", gradcam.epilogue = "1"}
func.func @three_of_one_port(%image: memref<4x4x4xi8>, %out: memref<4x4x2xi8>) {
  %c0 = arith.constant 0 : i8
  %x = memref.alloc() : memref<4x4x4xi8>
  %y = memref.alloc() : memref<4x4x4xi8>
  %z = memref.alloc() : memref<4x4x4xi8>
  %u = memref.alloc() : memref<4x4x2xi8>
  %acc = memref.alloca() : memref<2xi8>
  affine.for %h = 0 to 4 {
    affine.for %w = 0 to 4 {
      affine.for %t = 0 to 2 {
        affine.parallel (%l) = (0) to (2) {
          %v = affine.load %image[%h, %w, %t * 2 + %l] : memref<4x4x4xi8>
          affine.store %v, %x[%h, %w, %t * 2 + %l] : memref<4x4x4xi8>
        }
      }
    }
  } {gradcam.engine = "load", gradcam.epilogue = "0"}
  affine.for %t = 0 to 2 {
    affine.for %h = 0 to 4 {
      affine.for %w = 0 to 4 {
        affine.parallel (%l) = (0) to (2) {
          %v = affine.load %x[%h, %w, %t * 2 + %l] : memref<4x4x4xi8>
          affine.store %v, %y[%h, %w, %t * 2 + %l] : memref<4x4x4xi8>
        }
      }
    }
  } {gradcam.engine = "mac", gradcam.epilogue = "0"}
  affine.for %t = 0 to 2 {
    affine.for %h = 0 to 4 {
      affine.for %w = 0 to 4 {
        affine.parallel (%l) = (0) to (2) {
          affine.store %c0, %acc[%l] : memref<2xi8>
        }
        affine.for %k = 0 to 3 {
          affine.parallel (%l) = (0) to (2) {
            %v = affine.load %y[%h, %w, %t * 2 + %l] : memref<4x4x4xi8>
            %a = affine.load %acc[%l] : memref<2xi8>
            %n = arith.addi %a, %v : i8
            affine.store %n, %acc[%l] : memref<2xi8>
          }
        }
        affine.parallel (%l) = (0) to (2) {
          %a = affine.load %acc[%l] : memref<2xi8>
          affine.store %a, %z[%h, %w, %t * 2 + %l] : memref<4x4x4xi8>
        }
      }
    }
  } {gradcam.engine = "depthwise", gradcam.epilogue = "0"}
  affine.for %h = 0 to 4 {
    affine.for %w = 0 to 4 {
      affine.parallel (%l) = (0) to (2) {
        affine.store %c0, %acc[%l] : memref<2xi8>
      }
      affine.for %k = 0 to 2 {
        affine.parallel (%l) = (0) to (2) {
          %v = affine.load %z[%h, %w, %k * 2 + %l] : memref<4x4x4xi8>
          %a = affine.load %acc[%l] : memref<2xi8>
          %n = arith.addi %a, %v : i8
          affine.store %n, %acc[%l] : memref<2xi8>
        }
      }
      affine.parallel (%l) = (0) to (2) {
        %a = affine.load %acc[%l] : memref<2xi8>
        %r = affine.load %y[%h, %w, %l] : memref<4x4x4xi8>
        %b = arith.addi %a, %r : i8
        affine.store %b, %u[%h, %w, %l] : memref<4x4x2xi8>
      }
    }
  } {gradcam.engine = "mac", gradcam.epilogue = "1"}
  affine.for %h = 0 to 4 {
    affine.for %w = 0 to 4 {
      affine.parallel (%l) = (0) to (2) {
        %v = affine.load %u[%h, %w, %l] : memref<4x4x2xi8>
        affine.store %v, %out[%h, %w, %l] : memref<4x4x2xi8>
      }
    }
  } {gradcam.engine = "store", gradcam.epilogue = "0"}
  return
}

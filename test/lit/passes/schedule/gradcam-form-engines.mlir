// RUN: %gradcam_opt %s --gradcam-form-engines --split-input-file --verify-diagnostics | FileCheck %s

// Two matrix products of different sizes and constants share an engine; the second adds a bias: another epilogue.
// A maximum is another body, and each direction of a stream has an engine of its own.
// CHECK-LABEL: func.func @main
// CHECK: gradcam.engine = "load", gradcam.epilogue = "0"
// CHECK: gradcam.engine = "mac", gradcam.epilogue = "0"
// CHECK: gradcam.engine = "mac", gradcam.epilogue = "1"
// CHECK: gradcam.engine = "mac", gradcam.epilogue = "0"
// CHECK: gradcam.engine = "max", gradcam.epilogue = "0"
// CHECK: gradcam.engine = "elementwise", gradcam.epilogue = "0"
// CHECK: gradcam.engine = "store", gradcam.epilogue = "0"
memref.global "private" constant @w : memref<4x4xi8> = dense<3>
memref.global "private" constant @b : memref<4xi32> = dense<5>
func.func @main(%image: memref<8x4xi8>, %out: memref<2x4xi32>) {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c9 = arith.constant 9 : i32
  %min = arith.constant -128 : i8
  %w = memref.get_global @w : memref<4x4xi8>
  %b = memref.get_global @b : memref<4xi32>
  %x = memref.alloc() : memref<8x4xi8>
  %y = memref.alloc() : memref<8x4xi32>
  %z = memref.alloc() : memref<2x4xi32>
  %m = memref.alloc() : memref<4xi8>
  %acc = memref.alloca() : memref<4xi32>
  %best = memref.alloca() : memref<4xi8>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %v = affine.load %image[%i, %l] : memref<8x4xi8>
      affine.store %v, %x[%i, %l] : memref<8x4xi8>
    }
  }
  affine.for %n = 0 to 8 {
    affine.parallel (%o) = (0) to (4) {
      affine.store %c0, %acc[%o] : memref<4xi32>
    }
    affine.for %k = 0 to 1 {
      affine.parallel (%o) = (0) to (4) {
        %s = affine.parallel (%i) = (0) to (4) reduce ("addi") -> (i32) {
          %xv = affine.load %x[%n, %i] : memref<8x4xi8>
          %wv = affine.load %w[%o, %i] : memref<4x4xi8>
          %xe = arith.extsi %xv : i8 to i32
          %we = arith.extsi %wv : i8 to i32
          %p = arith.muli %xe, %we : i32
          affine.yield %p : i32
        }
        %a = affine.load %acc[%o] : memref<4xi32>
        %t = arith.addi %a, %s : i32
        affine.store %t, %acc[%o] : memref<4xi32>
      }
    }
    affine.parallel (%o) = (0) to (4) {
      %a = affine.load %acc[%o] : memref<4xi32>
      %t = arith.addi %a, %c1 : i32
      affine.store %t, %y[%n, %o] : memref<8x4xi32>
    }
  }
  affine.for %n = 0 to 2 {
    affine.parallel (%o) = (0) to (4) {
      affine.store %c0, %acc[%o] : memref<4xi32>
    }
    affine.for %k = 0 to 3 {
      affine.parallel (%o) = (0) to (4) {
        %s = affine.parallel (%i) = (0) to (4) reduce ("addi") -> (i32) {
          %xv = affine.load %x[%n * 2 + %k, %i] : memref<8x4xi8>
          %wv = affine.load %w[%o, %i] : memref<4x4xi8>
          %xe = arith.extsi %xv : i8 to i32
          %we = arith.extsi %wv : i8 to i32
          %p = arith.muli %xe, %we : i32
          affine.yield %p : i32
        }
        %a = affine.load %acc[%o] : memref<4xi32>
        %t = arith.addi %a, %s : i32
        affine.store %t, %acc[%o] : memref<4xi32>
      }
    }
    affine.parallel (%o) = (0) to (4) {
      %a = affine.load %acc[%o] : memref<4xi32>
      %bv = affine.load %b[%o] : memref<4xi32>
      %t = arith.addi %a, %bv : i32
      affine.store %t, %z[%n, %o] : memref<2x4xi32>
    }
  }
  affine.for %n = 0 to 8 {
    affine.parallel (%o) = (0) to (4) {
      affine.store %c0, %acc[%o] : memref<4xi32>
    }
    affine.for %k = 0 to 1 {
      affine.parallel (%o) = (0) to (4) {
        %s = affine.parallel (%i) = (0) to (4) reduce ("addi") -> (i32) {
          %xv = affine.load %x[%n, %i] : memref<8x4xi8>
          %wv = affine.load %w[%o, %i] : memref<4x4xi8>
          %xe = arith.extsi %xv : i8 to i32
          %we = arith.extsi %wv : i8 to i32
          %p = arith.muli %xe, %we : i32
          affine.yield %p : i32
        }
        %a = affine.load %acc[%o] : memref<4xi32>
        %t = arith.addi %a, %s : i32
        affine.store %t, %acc[%o] : memref<4xi32>
      }
    }
    affine.parallel (%o) = (0) to (4) {
      %a = affine.load %acc[%o] : memref<4xi32>
      %t = arith.addi %a, %c9 : i32
      affine.store %t, %y[%n, %o] : memref<8x4xi32>
    }
  }
  affine.for %n = 0 to 1 {
    affine.parallel (%o) = (0) to (4) {
      affine.store %min, %best[%o] : memref<4xi8>
    }
    affine.for %k = 0 to 8 {
      affine.parallel (%o) = (0) to (4) {
        %xv = affine.load %x[%k, %o] : memref<8x4xi8>
        %a = affine.load %best[%o] : memref<4xi8>
        %t = arith.maxsi %a, %xv : i8
        affine.store %t, %best[%o] : memref<4xi8>
      }
    }
    affine.parallel (%o) = (0) to (4) {
      %a = affine.load %best[%o] : memref<4xi8>
      affine.store %a, %m[%o] : memref<4xi8>
    }
  }
  affine.for %n = 0 to 2 {
    affine.parallel (%o) = (0) to (4) {
      %a = affine.load %z[%n, %o] : memref<2x4xi32>
      %t = arith.addi %a, %c1 : i32
      affine.store %t, %y[%n, %o] : memref<8x4xi32>
    }
  }
  affine.for %n = 0 to 2 {
    affine.for %o = 0 to 4 {
      affine.parallel (%l) = (0) to (1) {
        %v = affine.load %z[%n, %o] : memref<2x4xi32>
        affine.store %v, %out[%n, %o] : memref<2x4xi32>
      }
    }
  }
  return
}

// -----

// A different initial value or element width is a different body.
// CHECK-LABEL: func.func @bodies
// CHECK: gradcam.engine = "sum"
// CHECK: gradcam.engine = "sum2"
func.func @bodies(%x: memref<8xi32>) {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %r = memref.alloc() : memref<1xi32>
  %acc = memref.alloca() : memref<1xi32>
  affine.for %n = 0 to 1 {
    affine.parallel (%o) = (0) to (1) {
      affine.store %c0, %acc[%o] : memref<1xi32>
    }
    affine.for %k = 0 to 8 {
      affine.parallel (%o) = (0) to (1) {
        %v = affine.load %x[%k] : memref<8xi32>
        %a = affine.load %acc[%o] : memref<1xi32>
        %t = arith.addi %a, %v : i32
        affine.store %t, %acc[%o] : memref<1xi32>
      }
    }
    affine.parallel (%o) = (0) to (1) {
      %a = affine.load %acc[%o] : memref<1xi32>
      affine.store %a, %r[0] : memref<1xi32>
    }
  }
  affine.for %n = 0 to 1 {
    affine.parallel (%o) = (0) to (1) {
      affine.store %c1, %acc[%o] : memref<1xi32>
    }
    affine.for %k = 0 to 8 {
      affine.parallel (%o) = (0) to (1) {
        %v = affine.load %x[%k] : memref<8xi32>
        %a = affine.load %acc[%o] : memref<1xi32>
        %t = arith.addi %a, %v : i32
        affine.store %t, %acc[%o] : memref<1xi32>
      }
    }
    affine.parallel (%o) = (0) to (1) {
      %a = affine.load %acc[%o] : memref<1xi32>
      affine.store %a, %r[0] : memref<1xi32>
    }
  }
  return
}

// -----

// A product with the same weights, lanes swapped, and one with run-time weights that are the same for all output lanes
// take the array of the first product: they differ in which lane of a word goes where. A larger grid is another array.
// CHECK-LABEL: func.func @lanes_of_words
// CHECK: gradcam.engine = "mac", gradcam.epilogue = "0"
// CHECK: gradcam.engine = "mac", gradcam.epilogue = "0"
// CHECK: gradcam.engine = "mac", gradcam.epilogue = "0"
// CHECK: gradcam.engine = "mac2", gradcam.epilogue = "0"
memref.global "private" constant @w : memref<2x4x4xi8> = dense<3>
memref.global "private" constant @u : memref<2x8x4xi8> = dense<5>
func.func @lanes_of_words(%image: memref<8x2x4xi8>) {
  %c0 = arith.constant 0 : i32
  %w = memref.get_global @w : memref<2x4x4xi8>
  %u = memref.get_global @u : memref<2x8x4xi8>
  %x = memref.alloc() : memref<8x2x4xi8>
  %v = memref.alloc() : memref<8x2x4xi8>
  %y = memref.alloc() : memref<8x4xi32>
  %z = memref.alloc() : memref<8x8xi32>
  %acc4 = memref.alloca() : memref<4xi32>
  %acc8 = memref.alloca() : memref<8xi32>
  affine.for %n = 0 to 8 {
    affine.parallel (%o) = (0) to (4) {
      affine.store %c0, %acc4[%o] : memref<4xi32>
    }
    affine.for %k = 0 to 2 {
      affine.parallel (%o) = (0) to (4) {
        %s = affine.parallel (%i) = (0) to (4) reduce ("addi") -> (i32) {
          %xv = affine.load %x[%n, %k, %i] : memref<8x2x4xi8>
          %wv = affine.load %w[%k, %o, %i] : memref<2x4x4xi8>
          %xe = arith.extsi %xv : i8 to i32
          %we = arith.extsi %wv : i8 to i32
          %p = arith.muli %xe, %we : i32
          affine.yield %p : i32
        }
        %a = affine.load %acc4[%o] : memref<4xi32>
        %t = arith.addi %a, %s : i32
        affine.store %t, %acc4[%o] : memref<4xi32>
      }
    }
    affine.parallel (%o) = (0) to (4) {
      %a = affine.load %acc4[%o] : memref<4xi32>
      affine.store %a, %y[%n, %o] : memref<8x4xi32>
    }
  }
  affine.for %n = 0 to 8 {
    affine.parallel (%o) = (0) to (4) {
      affine.store %c0, %acc4[%o] : memref<4xi32>
    }
    affine.for %k = 0 to 2 {
      affine.parallel (%o) = (0) to (4) {
        %s = affine.parallel (%i) = (0) to (4) reduce ("addi") -> (i32) {
          %xv = affine.load %x[%n, %k, %i] : memref<8x2x4xi8>
          %wv = affine.load %w[%k, %i, %o] : memref<2x4x4xi8>
          %xe = arith.extsi %xv : i8 to i32
          %we = arith.extsi %wv : i8 to i32
          %p = arith.muli %xe, %we : i32
          affine.yield %p : i32
        }
        %a = affine.load %acc4[%o] : memref<4xi32>
        %t = arith.addi %a, %s : i32
        affine.store %t, %acc4[%o] : memref<4xi32>
      }
    }
    affine.parallel (%o) = (0) to (4) {
      %a = affine.load %acc4[%o] : memref<4xi32>
      affine.store %a, %y[%n, %o] : memref<8x4xi32>
    }
  }
  affine.for %n = 0 to 8 {
    affine.parallel (%o) = (0) to (4) {
      affine.store %c0, %acc4[%o] : memref<4xi32>
    }
    affine.for %k = 0 to 2 {
      affine.parallel (%o) = (0) to (4) {
        %s = affine.parallel (%i) = (0) to (4) reduce ("addi") -> (i32) {
          %xv = affine.load %x[%n, %k, %i] : memref<8x2x4xi8>
          %wv = affine.load %v[%n, %k, %i] : memref<8x2x4xi8>
          %xe = arith.extsi %xv : i8 to i32
          %we = arith.extsi %wv : i8 to i32
          %p = arith.muli %xe, %we : i32
          affine.yield %p : i32
        }
        %a = affine.load %acc4[%o] : memref<4xi32>
        %t = arith.addi %a, %s : i32
        affine.store %t, %acc4[%o] : memref<4xi32>
      }
    }
    affine.parallel (%o) = (0) to (4) {
      %a = affine.load %acc4[%o] : memref<4xi32>
      affine.store %a, %y[%n, %o] : memref<8x4xi32>
    }
  }
  affine.for %n = 0 to 8 {
    affine.parallel (%o) = (0) to (8) {
      affine.store %c0, %acc8[%o] : memref<8xi32>
    }
    affine.for %k = 0 to 2 {
      affine.parallel (%o) = (0) to (8) {
        %s = affine.parallel (%i) = (0) to (4) reduce ("addi") -> (i32) {
          %xv = affine.load %x[%n, %k, %i] : memref<8x2x4xi8>
          %wv = affine.load %u[%k, %o, %i] : memref<2x8x4xi8>
          %xe = arith.extsi %xv : i8 to i32
          %we = arith.extsi %wv : i8 to i32
          %p = arith.muli %xe, %we : i32
          affine.yield %p : i32
        }
        %a = affine.load %acc8[%o] : memref<8xi32>
        %t = arith.addi %a, %s : i32
        affine.store %t, %acc8[%o] : memref<8xi32>
      }
    }
    affine.parallel (%o) = (0) to (8) {
      %a = affine.load %acc8[%o] : memref<8xi32>
      affine.store %a, %z[%n, %o] : memref<8x8xi32>
    }
  }
  return
}

// -----

func.func @plain(%x: memref<8xi32>, %y: memref<8xi32>) {
  // expected-error@+1 {{this is no scheduled nest: the loop holds affine.load, affine.store; run gradcam-split-time-space first}}
  affine.for %i = 0 to 8 {
    %v = affine.load %x[%i] : memref<8xi32>
    affine.store %v, %y[%i] : memref<8xi32>
  }
  return
}

// -----

func.func @reduction(%x: memref<8xi32>, %y: memref<8xi32>) {
  %c0 = arith.constant 0 : i32
  %acc = memref.alloca() : memref<1xi32>
  affine.for %i = 0 to 8 {
    affine.parallel (%o) = (0) to (1) {
      affine.store %c0, %acc[%o] : memref<1xi32>
    }
    // expected-error@+1 {{this is no scheduled nest: the loop holds nothing; run gradcam-split-time-space first}}
    affine.for %k = 0 to 8 {
    }
    affine.parallel (%o) = (0) to (1) {
      %a = affine.load %acc[%o] : memref<1xi32>
      affine.store %a, %y[%i] : memref<8xi32>
    }
  }
  return
}

// -----

func.func @lanes(%x: memref<8xi32>, %y: memref<8xi32>) {
  affine.for %i = 0 to 1 {
    // expected-error@+1 {{lanes must run from 0 to a constant by step 1; run affine-loop-normalize first}}
    affine.parallel (%l) = (4) to (8) {
      %v = affine.load %x[%l] : memref<8xi32>
      affine.store %v, %y[%l] : memref<8xi32>
    }
  }
  return
}

// -----

func.func @initial(%x: memref<8xi32>, %y: memref<8xi32>) {
  %acc = memref.alloca() : memref<1xi32>
  affine.for %i = 0 to 8 {
    affine.parallel (%o) = (0) to (1) {
      // expected-error@+1 {{accumulators must be set to a constant before the reduction, or slide}}
      %v = affine.load %x[%i] : memref<8xi32>
      affine.store %v, %acc[%o] : memref<1xi32>
    }
    affine.for %k = 0 to 8 {
      affine.parallel (%o) = (0) to (1) {
      }
    }
    affine.parallel (%o) = (0) to (1) {
    }
  }
  return
}

// -----

func.func @product(%x: memref<8xi32>, %y: memref<8xi32>) {
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (1) {
      // expected-error@+1 {{lanes can only be reduced by one integer sum: reduce ("addi")}}
      %s = affine.parallel (%k) = (0) to (8) reduce ("muli") -> (i32) {
        %v = affine.load %x[%k] : memref<8xi32>
        affine.yield %v : i32
      }
      affine.store %s, %y[%i] : memref<8xi32>
    }
  }
  return
}

// -----

func.func @choice(%x: memref<8xi32>, %y: memref<8xi32>) {
  %c0 = arith.constant 0 : i32
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (1) {
      // expected-error@+1 {{affine.if must choose between one load and a constant}}
      %v = affine.if affine_set<(d0) : (d0 - 1 >= 0)>(%i) -> i32 {
        affine.yield %c0 : i32
      } else {
        affine.yield %c0 : i32
      }
      affine.store %v, %y[%i] : memref<8xi32>
    }
  }
  return
}

// -----

func.func @guarded_stream(%x: memref<8xi32>, %y: memref<8xi32>) {
  %c0 = arith.constant 0 : i32
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (1) {
      // expected-error@+1 {{only a store to a buffer in memory can be guarded}}
      affine.if affine_set<(d0) : (d0 - 1 >= 0)>(%i) {
        affine.store %c0, %y[%i] : memref<8xi32>
      }
    }
  }
  return
}

// -----

func.func @guarded_load(%x: memref<8xi32>, %y: memref<8xi32>) {
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (1) {
      // expected-error@+1 {{affine.if without a result must guard one store}}
      affine.if affine_set<(d0) : (d0 - 1 >= 0)>(%i) {
        %v = affine.load %x[%i] : memref<8xi32>
        affine.store %v, %y[%i] : memref<8xi32>
      }
    }
  }
  return
}

// -----

func.func @padded_register(%x: memref<1xi32>, %y: memref<8xi32>) {
  %c0 = arith.constant 0 : i32
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (1) {
      // expected-error@+1 {{only a stream or a buffer in memory can be padded, not what has one element}}
      %v = affine.if affine_set<(d0) : (d0 - 1 >= 0)>(%i) -> i32 {
        %w = affine.load %x[0] : memref<1xi32>
        affine.yield %w : i32
      } else {
        affine.yield %c0 : i32
      }
      affine.store %v, %y[%i] : memref<8xi32>
    }
  }
  return
}

// -----

// A copy of data and a copy of constants are one engine with two epilogues, for they read different ports.
// CHECK-LABEL: func.func @copies
// CHECK: affine.for
// CHECK: gradcam.engine = "elementwise", gradcam.epilogue = "0"
// CHECK: affine.for
// CHECK: gradcam.engine = "elementwise", gradcam.epilogue = "1"
memref.global "private" constant @table : memref<8x4xi8> = dense<1>
func.func @copies() {
  %x = memref.alloc() : memref<8x4xi8>
  %y = memref.alloc() : memref<8x4xi8>
  %z = memref.alloc() : memref<8x4xi8>
  %w = memref.get_global @table : memref<8x4xi8>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %v = affine.load %x[%i, %l] : memref<8x4xi8>
      affine.store %v, %y[%i, %l] : memref<8x4xi8>
    }
  }
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %v = affine.load %w[%i, %l] : memref<8x4xi8>
      affine.store %v, %z[%i, %l] : memref<8x4xi8>
    }
  }
  return
}

// -----

func.func @call(%x: memref<8xi32>, %y: memref<8xi32>) {
  %c0 = arith.constant 0 : i32
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (1) {
      // expected-error@+1 {{a value can only be looked up in a constant with an entry for each of its bit patterns}}
      %v = memref.load %x[%i] : memref<8xi32>
      affine.store %v, %y[%i] : memref<8xi32>
    }
  }
  return
}

// -----

func.func @outside(%y: memref<8xi32>, %p: memref<1xi32>) {
  %c0 = arith.constant 0 : index
  %v = memref.load %p[%c0] : memref<1xi32>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (1) {
      // expected-error@+1 {{a value comes from outside the nest; store it in a buffer of one element}}
      affine.store %v, %y[%i] : memref<8xi32>
    }
  }
  return
}

// -----

// expected-error@+1 {{a module must hold exactly one function to compile, found 2}}
module {
  func.func @f() {
    return
  }
  func.func @g() {
    return
  }
}

// -----

#moved = affine_set<(x, i) : (x - 1 >= 0, i - 2 >= 0)>

// Sums that slide move by the lanes of a group.
func.func @sliding(%x: memref<8x1xi32>, %y: memref<8x1xi32>) {
  %c0 = arith.constant 0 : i32
  %acc = memref.alloca() : memref<3xi32>
  %kept = memref.alloca() : memref<3xi32>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (3) {
      %v = affine.load %acc[%l] : memref<3xi32>
      affine.store %v, %kept[%l] : memref<3xi32>
    }
    // expected-error@+1 {{accumulators must be set to a constant before the reduction, or slide}}
    affine.parallel (%l) = (0) to (3) {
      %v = affine.if #moved(%i, %l) -> i32 {
        %before = affine.load %kept[%l - 1] : memref<3xi32>
        affine.yield %before : i32
      } else {
        affine.yield %c0 : i32
      }
      affine.store %v, %acc[%l] : memref<3xi32>
    }
    affine.for %k = 0 to 8 {
      affine.parallel (%l) = (0) to (3) {
      }
    }
    affine.parallel (%l) = (0) to (1) {
    }
  }
  return
}

// -----

func.func @loop_as_lane(%x: memref<8xi32>, %y: memref<8xi32>) {
  %c0_i32 = arith.constant 0 : i32
  %acc = memref.alloca() : memref<4xi32>
  affine.for %i = 0 to 4 {
    affine.parallel (%o) = (0) to (4) {
      affine.store %c0_i32, %acc[%o] : memref<4xi32>
    }
    affine.for %k = 0 to 8 {
      affine.parallel (%o) = (0) to (4) {
        %v = affine.load %x[%k] : memref<8xi32>
        %a = affine.load %acc[%o] : memref<4xi32>
        %s = arith.addi %a, %v : i32
        affine.store %s, %acc[%o] : memref<4xi32>
      }
    }
    affine.parallel (%o) = (0) to (1) {
      // expected-error@+1 {{the index of an accumulator must be a lane, or in a load a symbol modulo the lanes}}
      %a = affine.load %acc[%i] : memref<4xi32>
      affine.store %a, %y[%i] : memref<8xi32>
    }
  }
  return
}

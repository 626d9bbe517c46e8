// RUN: %gradcam_opt %s --gradcam-assign-cycles --split-input-file --verify-diagnostics | FileCheck %s

// A nest takes its steps, the stage of its last write, and a cycle of issue. Load: 8 + 1 + 1; the sum: 2 * 4 + 4 + 1.
// The logits do not need the second nest, so it belongs to the explanation: 2 + 1 + 1. Store: 2 + 1 + 1 twice.
// CHECK: module attributes {gradcam.cycles = {explanation = 3 : i64, inference = 11 : i64, load = 9 : i64, store = 8 : i64, total = 31 : i64}}
// CHECK: affine.load %arg0{{.+}} {gradcam.stage = 0 : i64}
// CHECK: affine.store {{.+}} {gradcam.stage = 1 : i64}
// CHECK: {gradcam.cycles = 9 : i64, gradcam.drain = 1 : i64, gradcam.end = 9 : i64, gradcam.phase = "load", gradcam.start = 0 : i64}
// Body: the read takes a cycle, the product one, the sum over lanes one; the accumulator changes in stage 3.
// CHECK: affine.load {{.+}} {gradcam.stage = 0 : i64}
// CHECK: arith.extsi {{.+}} {gradcam.stage = 1 : i64}
// CHECK: arith.muli {{.+}} {gradcam.stage = 1 : i64}
// CHECK: } {gradcam.stage = 2 : i64}
// CHECK: arith.addi {{.+}} {gradcam.stage = 3 : i64}
// CHECK: affine.store {{.+}} {gradcam.stage = 3 : i64}
// Epilogue: the address of the bias leaves in stage 3, so that it arrives with the sum.
// CHECK: affine.load {{.+}} {gradcam.stage = 3 : i64} : memref<2xi32>
// CHECK: arith.addi {{.+}} {gradcam.stage = 4 : i64}
// CHECK: affine.store {{.+}} {gradcam.stage = 4 : i64}
// The last element is written in cycle 21, and read in 22 by the second step of the next nest.
// CHECK: gradcam.drain = 2 : i64, gradcam.end = 20 : i64, gradcam.phase = "inference", gradcam.start = 9 : i64}
// CHECK: gradcam.drain = 1 : i64, gradcam.end = 23 : i64, gradcam.phase = "explanation", gradcam.start = 20 : i64}
// CHECK: gradcam.drain = 0 : i64, gradcam.end = 27 : i64, gradcam.phase = "store", gradcam.start = 23 : i64}
// CHECK: gradcam.drain = 0 : i64, gradcam.end = 31 : i64, gradcam.phase = "store", gradcam.start = 27 : i64}
memref.global "private" constant @b : memref<2xi32> = dense<5>
func.func @main(%image: memref<8x2xi8>, %logits: memref<2xi32>, %heatmap: memref<2xi32>) {
  %c0 = arith.constant 0 : i32
  %b = memref.get_global @b : memref<2xi32> {gradcam.bank = "bank0", gradcam.offset = 0 : i64}
  %x = memref.alloc() {gradcam.bank = "bank1", gradcam.offset = 0 : i64} : memref<8x2xi8>
  %y = memref.alloc() {gradcam.bank = "bank2", gradcam.offset = 0 : i64} : memref<2xi32>
  %z = memref.alloc() {gradcam.bank = "bank3", gradcam.offset = 0 : i64} : memref<2xi32>
  %acc = memref.alloca() : memref<1xi32>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %image[%i, %l] : memref<8x2xi8>
      affine.store %v, %x[%i, %l] : memref<8x2xi8>
    }
  }
  affine.for %n = 0 to 2 {
    affine.parallel (%o) = (0) to (1) {
      affine.store %c0, %acc[%o] : memref<1xi32>
    }
    affine.for %k = 0 to 4 {
      affine.parallel (%o) = (0) to (1) {
        %s = affine.parallel (%i) = (0) to (2) reduce ("addi") -> (i32) {
          %v = affine.load %x[%n * 4 + %k, %i] : memref<8x2xi8>
          %e = arith.extsi %v : i8 to i32
          %p = arith.muli %e, %e : i32
          affine.yield %p : i32
        }
        %a = affine.load %acc[%o] : memref<1xi32>
        %t = arith.addi %a, %s : i32
        affine.store %t, %acc[%o] : memref<1xi32>
      }
    }
    affine.parallel (%o) = (0) to (1) {
      %a = affine.load %acc[%o] : memref<1xi32>
      %bv = affine.load %b[%n] : memref<2xi32>
      %t = arith.addi %a, %bv : i32
      affine.store %t, %y[%n] : memref<2xi32>
    }
  }
  affine.for %n = 0 to 2 {
    affine.parallel (%o) = (0) to (1) {
      %v = affine.load %y[%n] : memref<2xi32>
      affine.store %v, %z[%n] : memref<2xi32>
    }
  }
  affine.for %n = 0 to 2 {
    affine.parallel (%o) = (0) to (1) {
      %v = affine.load %y[%n] : memref<2xi32>
      affine.store %v, %logits[%n] : memref<2xi32>
    }
  }
  affine.for %n = 0 to 2 {
    affine.parallel (%o) = (0) to (1) {
      %v = affine.load %z[%n] : memref<2xi32>
      affine.store %v, %heatmap[%n] : memref<2xi32>
    }
  }
  return
}

// -----

// expected-error@+1 {{there is no loop nest to schedule}}
func.func @empty() {
  return
}

// -----

// expected-error@+1 {{no nest writes an argument: there is no output to compute}}
func.func @silent(%image: memref<8xi8>) {
  %x = memref.alloc() : memref<8xi8>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %image[%i] : memref<8xi8>
      affine.store %v, %x[%i] : memref<8xi8>
    }
  }
  return
}

// -----

func.func @feedback(%image: memref<8xi32>, %out: memref<1xi32>) {
  %c1 = arith.constant 1 : i32
  %acc = memref.alloca() : memref<1xi32>
  affine.for %n = 0 to 1 {
    affine.parallel (%o) = (0) to (1) {
      affine.store %c1, %acc[%o] : memref<1xi32>
    }
    affine.for %k = 0 to 8 {
      affine.parallel (%o) = (0) to (1) {
        %v = affine.load %image[%k] : memref<8xi32>
        %a = affine.load %acc[%o] : memref<1xi32>
        %t = arith.muli %a, %v : i32
        // expected-error@+1 {{an accumulator must change in one cycle: no product, shift or sum over lanes may depend on it}}
        affine.store %t, %acc[%o] : memref<1xi32>
      }
    }
    affine.parallel (%o) = (0) to (1) {
      %a = affine.load %acc[%o] : memref<1xi32>
      affine.store %a, %out[0] : memref<1xi32>
    }
  }
  return
}

// -----

// Words of 2 beats from DRAM: a request in cycle 0, its first beat 10 cycles later, so words 0 to 5 are there from cycles
// 12, 14, 16, 18, 20 and 22 on. The steps of the first tile come in cycles 12, 14, 16 and 17 to 19, those of the second in
// 20, 21, 22 and 23 to 25: 13 later than without waiting. With the stage of the write and the issue that makes 27 cycles.
// The 12 beats are requested in cycle 0 and come in cycles 10 to 21; the words of the first tile are free after cycles 17
// to 19, the others after 23 to 25.
// CHECK: gradcam.ring_levels = {{\[}}[0, 0], [10, 12], [22, 6], [27, 0]]
// CHECK: {gradcam.beats = [10, 21], {{.+}} gradcam.end = 27 : i64, gradcam.phase = "store", gradcam.stalls = 13 : i64, gradcam.start = 0 : i64}
module attributes {
  gradcam.banks = {weights = {bits = 8 : i64, constant = false, lanes = 2 : i64, words = 8 : i64}},
  gradcam.platform = {pe = "1x1", dram = {latency = 10 : i64, outstanding = 8 : i64, width = 8 : i64}},
  gradcam.weight_stream = "weights"} {
memref.global "private" constant @w : memref<1x6x2xi8> = dense<3>
func.func @weight_stream(%out: memref<12x2xi8>) {
  %w = memref.get_global @w : memref<1x6x2xi8> {gradcam.bank = "weights", gradcam.offset = 0 : i64}
  affine.for %o = 0 to 2 {
    affine.for %pixel = 0 to 2 {
      affine.for %k = 0 to 3 {
        affine.parallel (%l) = (0) to (2) {
          %v = affine.load %w[0, %o * 3 + %k, %l] : memref<1x6x2xi8>
          affine.store %v, %out[%o * 6 + %pixel * 3 + %k, %l] : memref<12x2xi8>
        }
      }
    }
  }
  return
}
}

// -----

module attributes {
  gradcam.banks = {weights = {bits = 8 : i64, constant = false, lanes = 2 : i64, words = 8 : i64}},
  gradcam.platform = {pe = "1x1", dram = {latency = 10 : i64, outstanding = 8 : i64, width = 8 : i64}},
  gradcam.weight_stream = "weights"} {
memref.global "private" constant @w : memref<1x6x2xi8> = dense<3>
func.func @disorder(%out: memref<6x2xi8>) {
  %w = memref.get_global @w : memref<1x6x2xi8> {gradcam.bank = "weights", gradcam.offset = 0 : i64}
  affine.for %o = 0 to 2 {
    affine.for %k = 0 to 3 {
      affine.parallel (%l) = (0) to (2) {
        // expected-error@+1 {{weights is not in the order of its reads; run gradcam-stream-weights}}
        %v = affine.load %w[0, %k * 2 + %o, %l] : memref<1x6x2xi8>
        affine.store %v, %out[%o * 3 + %k, %l] : memref<6x2xi8>
      }
    }
  }
  return
}
}

// -----

// expected-error@+1 {{the ring weights needs 6 words, it has 4}}
module attributes {
  gradcam.banks = {weights = {bits = 8 : i64, constant = false, lanes = 2 : i64, words = 4 : i64}},
  gradcam.platform = {pe = "1x1", dram = {latency = 10 : i64, outstanding = 8 : i64, width = 8 : i64}},
  gradcam.weight_stream = "weights"} {
memref.global "private" constant @w : memref<1x6x2xi8> = dense<3>
func.func @small(%out: memref<6x2xi8>) {
  %w = memref.get_global @w : memref<1x6x2xi8> {gradcam.bank = "weights", gradcam.offset = 0 : i64}
  affine.for %o = 0 to 6 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %w[0, %o, %l] : memref<1x6x2xi8>
      affine.store %v, %out[%o, %l] : memref<6x2xi8>
    }
  }
  return
}
}

// -----

// A beat is held while %j runs; the steps of a load that pads take none.
// CHECK-LABEL: func.func @held
// CHECK: gradcam.drain = 1 : i64, gradcam.end = 13 : i64, {{.*}}gradcam.phase = "load", gradcam.start = 0 : i64}
#inside = affine_set<(d0) : (d0 - 1 >= 0, -d0 + 4 >= 0)>
func.func @held(%image: memref<4xi8>, %out: memref<2xi8>) {
  %zero = arith.constant 0 : i8
  %x = memref.alloc() {gradcam.bank = "bank0", gradcam.offset = 0 : i64} : memref<6x2xi8>
  affine.for %u = 0 to 6 {
    affine.for %j = 0 to 2 {
      affine.parallel (%l) = (0) to (1) {
        %v = affine.if #inside(%u) -> i8 {
          %p = affine.load %image[%u + %l - 1] : memref<4xi8>
          affine.yield %p : i8
        } else {
          affine.yield %zero : i8
        }
        affine.store %v, %x[%u, %j + %l] : memref<6x2xi8>
      }
    }
  }
  affine.for %i = 0 to 2 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %x[%i, %l] : memref<6x2xi8>
      affine.store %v, %out[%i] : memref<2xi8>
    }
  }
  return
}

// -----

func.func @backwards(%image: memref<4xi8>, %out: memref<4xi8>) {
  %x = memref.alloc() : memref<4xi8>
  // expected-error@+1 {{the nest reads argument 0 out of order: elements pass once, row by row}}
  affine.for %i = 0 to 4 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %image[-%i + 3] : memref<4xi8>
      affine.store %v, %x[%i] : memref<4xi8>
    }
  }
  affine.for %i = 0 to 4 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %x[%i] : memref<4xi8>
      affine.store %v, %out[%i] : memref<4xi8>
    }
  }
  return
}

// -----

func.func @twice(%image: memref<4xi8>, %out: memref<4xi8>) {
  %x = memref.alloc() : memref<4xi8>
  %y = memref.alloc() : memref<4xi8>
  affine.for %i = 0 to 4 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %image[%i] : memref<4xi8>
      affine.store %v, %x[%i] : memref<4xi8>
    }
  }
  // expected-error@+1 {{another nest accesses argument 0 too, whose elements pass only once}}
  affine.for %i = 0 to 4 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %image[%i] : memref<4xi8>
      affine.store %v, %y[%i] : memref<4xi8>
    }
  }
  return
}

// -----

// The second nest is issued with the first. Element i is written in cycle i + 2 and read from the next one on, so the second
// nest takes its first step in cycle 3, 2 late, and its last in cycle 10. It ends in cycle 11, and writes once more in that cycle.
// Alone it would take 9 cycles; the first nest, which loads, has what it adds to them.
// CHECK-LABEL: func.func @beside
// CHECK: {gradcam.counted = 1 : i64, gradcam.cycles = 2 : i64, gradcam.drain = 0 : i64, gradcam.end = 10 : i64, gradcam.phase = "load", gradcam.start = 0 : i64}
// CHECK: {gradcam.cycles = 9 : i64, gradcam.drain = 1 : i64, gradcam.end = 11 : i64, gradcam.follows = #{{.+}}, gradcam.phase = "inference", gradcam.start = 0 : i64}
// CHECK: gradcam.end = 21 : i64, gradcam.phase = "store", gradcam.start = 11 : i64}
func.func @beside(%image: memref<8xi8>, %out: memref<8xi8>) {
  %x = memref.alloc() {gradcam.bank = "bank0", gradcam.offset = 0 : i64} : memref<8xi8>
  %y = memref.alloc() {gradcam.bank = "bank1", gradcam.offset = 0 : i64} : memref<8xi8>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %image[%i] : memref<8xi8>
      affine.store %v, %x[%i] : memref<8xi8>
    }
  } {gradcam.counted = 1 : i64}
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %x[%i] : memref<8xi8>
      affine.store %v, %y[%i] : memref<8xi8>
    }
  } {gradcam.follows = affine_map<(d0) -> (d0 + 1)>}
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %y[%i] : memref<8xi8>
      affine.store %v, %out[%i] : memref<8xi8>
    }
  }
  return
}

// -----

func.func @uncounted(%image: memref<8xi8>, %out: memref<8xi8>) {
  %x = memref.alloc() : memref<8xi8>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %image[%i] : memref<8xi8>
      affine.store %v, %x[%i] : memref<8xi8>
    }
  }
  // expected-error@+1 {{the nest before it has no 'gradcam.counted'; run gradcam-overlap-nests}}
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %x[%i] : memref<8xi8>
      affine.store %v, %out[%i] : memref<8xi8>
    }
  } {gradcam.follows = affine_map<(d0) -> (d0 + 1)>}
  return
}

// -----

// A pipeline of stage 4 drains. Bank b is written in its last stage, and by the next nest in stage 1 of its first step, which
// comes 2 cycles later than without that: 2 cycles are left. The nest that writes a register is waited for.
// CHECK-LABEL: func.func @ports
// CHECK: gradcam.drain = 2 : i64, gradcam.end = 11 : i64, gradcam.phase = "inference", gradcam.start = 0 : i64}
// CHECK: gradcam.drain = 1 : i64, gradcam.end = 14 : i64, gradcam.phase = "inference", gradcam.start = 11 : i64}
// CHECK: gradcam.drain = 0 : i64, gradcam.end = 18 : i64, gradcam.phase = "inference", gradcam.start = 14 : i64}
// CHECK: gradcam.drain = 0 : i64, gradcam.end = 22 : i64, gradcam.phase = "store", gradcam.start = 18 : i64}
memref.global "private" constant @x : memref<8x2xi8> = dense<1>
memref.global "private" constant @b : memref<2xi32> = dense<5>
func.func @ports(%logits: memref<2xi32>) {
  %c0 = arith.constant 0 : i32
  %x = memref.get_global @x : memref<8x2xi8> {gradcam.bank = "x", gradcam.offset = 0 : i64}
  %b = memref.get_global @b : memref<2xi32> {gradcam.bank = "c", gradcam.offset = 0 : i64}
  %y = memref.alloc() {gradcam.bank = "b", gradcam.offset = 0 : i64} : memref<2xi32>
  %z = memref.alloc() {gradcam.bank = "b", gradcam.offset = 2 : i64} : memref<2xi32>
  %r = memref.alloc() : memref<1xi32>
  %acc = memref.alloca() : memref<1xi32>
  affine.for %n = 0 to 2 {
    affine.parallel (%o) = (0) to (1) {
      affine.store %c0, %acc[%o] : memref<1xi32>
    }
    affine.for %k = 0 to 4 {
      affine.parallel (%o) = (0) to (1) {
        %s = affine.parallel (%i) = (0) to (2) reduce ("addi") -> (i32) {
          %v = affine.load %x[%n * 4 + %k, %i] : memref<8x2xi8>
          %e = arith.extsi %v : i8 to i32
          %p = arith.muli %e, %e : i32
          affine.yield %p : i32
        }
        %a = affine.load %acc[%o] : memref<1xi32>
        %t = arith.addi %a, %s : i32
        affine.store %t, %acc[%o] : memref<1xi32>
      }
    }
    affine.parallel (%o) = (0) to (1) {
      %a = affine.load %acc[%o] : memref<1xi32>
      affine.store %a, %y[%n] : memref<2xi32>
    }
  }
  affine.for %n = 0 to 2 {
    affine.parallel (%o) = (0) to (1) {
      %v = affine.load %b[%n] : memref<2xi32>
      affine.store %v, %z[%n] : memref<2xi32>
    }
  }
  affine.for %n = 0 to 2 {
    affine.parallel (%o) = (0) to (1) {
      %v = affine.load %z[%n] : memref<2xi32>
      affine.store %v, %r[0] : memref<1xi32>
    }
  }
  affine.for %n = 0 to 2 {
    affine.parallel (%o) = (0) to (1) {
      %v = affine.load %y[%n] : memref<2xi32>
      %q = affine.load %r[0] : memref<1xi32>
      %t = arith.addi %v, %q : i32
      affine.store %t, %logits[%n] : memref<2xi32>
    }
  }
  return
}

// -----

// Two cascades of 4 slices add up 8 products, whose factors are read by stage 1: their sums are there in stage 7, and
// the sum of both in stage 8. Of 4 products nothing is left to add up.
// CHECK: arith.muli {{.+}} {gradcam.latency = 6 : i64, gradcam.stage = 1 : i64}
// CHECK: } {gradcam.cascade = 4 : i64, gradcam.stage = 7 : i64}
// CHECK: arith.addi {{.+}} {gradcam.stage = 8 : i64}
// CHECK: arith.muli {{.+}} {gradcam.latency = 6 : i64, gradcam.stage = 1 : i64}
// CHECK: } {gradcam.cascade = 4 : i64, gradcam.latency = 0 : i64, gradcam.stage = 7 : i64}
// CHECK: arith.addi {{.+}} {gradcam.stage = 7 : i64}
module attributes {gradcam.platform = {pe = "1x8", family = "xcup"}} {
  func.func @main(%image: memref<4x8xi8>, %logits: memref<1xi32>) {
    %c0 = arith.constant 0 : i32
    %x = memref.alloc() {gradcam.bank = "bank0", gradcam.offset = 0 : i64} : memref<4x8xi8>
    %y = memref.alloc() {gradcam.bank = "bank1", gradcam.offset = 0 : i64} : memref<1xi32>
    %z = memref.alloc() {gradcam.bank = "bank2", gradcam.offset = 0 : i64} : memref<1xi32>
    %acc = memref.alloca() : memref<1xi32>
    affine.for %i = 0 to 4 {
      affine.parallel (%l) = (0) to (8) {
        %v = affine.load %image[%i, %l] : memref<4x8xi8>
        affine.store %v, %x[%i, %l] : memref<4x8xi8>
      }
    }
    affine.for %n = 0 to 1 {
      affine.parallel (%o) = (0) to (1) {
        affine.store %c0, %acc[%o] : memref<1xi32>
      }
      affine.for %k = 0 to 4 {
        affine.parallel (%o) = (0) to (1) {
          %s = affine.parallel (%i) = (0) to (8) reduce ("addi") -> (i32) {
            %v = affine.load %x[%k, %i] : memref<4x8xi8>
            %e = arith.extsi %v : i8 to i16
            %p = arith.muli %e, %e : i16
            %w = arith.extsi %p : i16 to i32
            affine.yield %w : i32
          }
          %a = affine.load %acc[%o] : memref<1xi32>
          %t = arith.addi %a, %s : i32
          affine.store %t, %acc[%o] : memref<1xi32>
        }
      }
      affine.parallel (%o) = (0) to (1) {
        %a = affine.load %acc[%o] : memref<1xi32>
        affine.store %a, %y[0] : memref<1xi32>
      }
    }
    affine.for %n = 0 to 1 {
      affine.parallel (%o) = (0) to (1) {
        affine.store %c0, %acc[%o] : memref<1xi32>
      }
      affine.for %k = 0 to 4 {
        affine.parallel (%o) = (0) to (1) {
          %s = affine.parallel (%i) = (0) to (4) reduce ("addi") -> (i32) {
            %v = affine.load %x[%k, %i] : memref<4x8xi8>
            %e = arith.extsi %v : i8 to i16
            %p = arith.muli %e, %e : i16
            %w = arith.extsi %p : i16 to i32
            affine.yield %w : i32
          }
          %a = affine.load %acc[%o] : memref<1xi32>
          %t = arith.addi %a, %s : i32
          affine.store %t, %acc[%o] : memref<1xi32>
        }
      }
      affine.parallel (%o) = (0) to (1) {
        %a = affine.load %acc[%o] : memref<1xi32>
        affine.store %a, %z[0] : memref<1xi32>
      }
    }
    affine.for %n = 0 to 1 {
      affine.parallel (%o) = (0) to (1) {
        %v = affine.load %y[%n] : memref<1xi32>
        affine.store %v, %logits[%n] : memref<1xi32>
      }
    }
    return
  }
}

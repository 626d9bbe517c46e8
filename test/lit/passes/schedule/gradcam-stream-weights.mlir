// RUN: %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-set-platform{dram-width=8 dram-outstanding=3 dram-latency=10},gradcam-plan-memory,gradcam-stream-weights)' --split-input-file --verify-diagnostics | FileCheck %s
// RUN: %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-set-platform{dram-width=8},gradcam-plan-memory,gradcam-stream-weights,gradcam-assign-cycles)' --split-input-file --verify-diagnostics -o /dev/null

// Three nests read @w, each in its own order: tiles of 3 words, the transpose, the row that a run-time value picks. The
// ring has room for a tile of 3 words and a burst of 256 bytes, but needs no more than the weight stream's 15 words.
// CHECK: module attributes {gradcam.banks = {
// CHECK-SAME: weights = {bits = 8 : i64, constant = false, lanes = 2 : i64, words = 16 : i64}
// CHECK-SAME: gradcam.platform = {dram = {latency = 10 : i64, outstanding = 3 : i64, width = 8 : i64}, pe = "16x16"}
// CHECK-SAME: gradcam.weight_stream = "weights"
// CHECK-NOT: @w
// CHECK: memref.global "private" constant @streamed0 : memref<1x6x2xi8> = dense<{{\[\[\[}}1, 2], [3, 4], [5, 6], [7, 8], [9, 10], [11, 12]]]>
// CHECK: memref.global "private" constant @streamed1 : memref<1x6x2xi8> = dense<{{\[\[\[}}1, 2], [7, 8], [3, 4], [9, 10], [5, 6], [11, 12]]]>
// CHECK: memref.global "private" constant @streamed2 : memref<2x3x2xi8> = dense<{{\[\[\[}}1, 2], [3, 4], [5, 6]], {{\[\[}}7, 8], [9, 10], [11, 12]]]>
// CHECK-DAG: %[[A:.+]] = memref.get_global @streamed0 : memref<1x6x2xi8> {gradcam.bank = "weights", gradcam.offset = 0 : i64}
// CHECK-DAG: %[[B:.+]] = memref.get_global @streamed1 : memref<1x6x2xi8> {gradcam.bank = "weights", gradcam.offset = 6 : i64}
// CHECK-DAG: %[[C:.+]] = memref.get_global @streamed2 : memref<2x3x2xi8> {gradcam.bank = "weights", gradcam.offset = 12 : i64}
// CHECK: affine.for %[[O:.+]] = 0 to 2
// CHECK-NEXT: affine.for %{{.+}} = 0 to 4
// CHECK-NEXT: affine.for %[[K:.+]] = 0 to 3
// CHECK-NEXT: affine.parallel (%[[L:.+]]) =
// CHECK-NEXT: affine.load %[[A]][0, %[[O]] * 3 + %[[K]], %[[L]]]
// CHECK: affine.load %[[B]][0, %{{.+}} * 2 + %{{.+}}, %{{.+}}]
// CHECK: affine.load %[[C]][symbol(%{{.+}}) floordiv 4, %{{.+}}, symbol(%{{.+}}) mod 2]
memref.global "private" constant @w : memref<2x3x2xi8> = dense<[[[1, 2], [3, 4], [5, 6]], [[7, 8], [9, 10], [11, 12]]]>
func.func @main(%image: memref<1xi32>, %first: memref<24x2xi8>, %second: memref<6x2xi8>, %third: memref<3xi8>) {
  %c0 = arith.constant 0 : index
  %w = memref.get_global @w : memref<2x3x2xi8>
  %class = memref.alloc() : memref<1xi32>
  affine.for %o = 0 to 2 {
    affine.for %pixel = 0 to 4 {
      affine.for %k = 0 to 3 {
        affine.parallel (%l) = (0) to (2) {
          %v = affine.load %w[%o, %k, %l] : memref<2x3x2xi8>
          affine.store %v, %first[%o * 12 + %pixel * 3 + %k, %l] : memref<24x2xi8>
        }
      }
    }
  }
  affine.for %k = 0 to 3 {
    affine.for %o = 0 to 2 {
      affine.parallel (%l) = (0) to (2) {
        %v = affine.load %w[%o, %k, %l] : memref<2x3x2xi8>
        affine.store %v, %second[%k * 2 + %o, %l] : memref<6x2xi8>
      }
    }
  }
  affine.for %i = 0 to 1 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %image[0] : memref<1xi32>
      affine.store %v, %class[0] : memref<1xi32>
    }
  }
  %n = memref.load %class[%c0] : memref<1xi32>
  %c = arith.index_cast %n : i32 to index
  affine.for %k = 0 to 3 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %w[symbol(%c) floordiv 4, %k, symbol(%c) mod 2] : memref<2x3x2xi8>
      affine.store %v, %third[%k] : memref<3xi8>
    }
  }
  return
}

// -----

memref.global "private" constant @w : memref<8xi8> = dense<3>
func.func @along(%out: memref<8xi8>, %wide: memref<8xi8>) {
  %w = memref.get_global @w : memref<8xi8>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (1) {
      // expected-error@+1 {{a loop leaves the word of weights that it walks along; it cannot come from DRAM}}
      %v = affine.load %w[%i] : memref<8xi8>
      affine.store %v, %out[%i] : memref<8xi8>
    }
  }
  affine.for %i = 0 to 2 {
    affine.parallel (%l) = (0) to (4) {
      %v = affine.load %w[%i * 4 + %l] : memref<8xi8>
      affine.store %v, %wide[%i * 4 + %l] : memref<8xi8>
    }
  }
  return
}

// -----

// expected-error@+1 {{there are no weights to stream}}
func.func @none(%image: memref<8xi8>, %out: memref<8xi8>) {
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %image[%i] : memref<8xi8>
      affine.store %v, %out[%i] : memref<8xi8>
    }
  }
  return
}

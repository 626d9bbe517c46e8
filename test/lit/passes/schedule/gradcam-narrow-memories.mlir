// RUN: %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-plan-memory,gradcam-narrow-memories,gradcam-assign-cycles)' | FileCheck %s
// RUN: %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-set-platform{dram-width=1024},gradcam-plan-memory,gradcam-stream-weights,gradcam-narrow-memories)' | FileCheck %s --check-prefix=BEAT
// RUN: %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-plan-memory,gradcam-assign-cycles)' | FileCheck %s --check-prefix=WIDE

// A word of 256 weights serves 8 pixels. In block RAMs of 512 words of 36 bits, 128 words take 57 halves of a block RAM;
// as 512 words of 64 weights they take 15. With 8 reads of a word they take as many, and more flip-flops. A word is
// there four cycles later, and the map is read so much later.
// CHECK: weights = {bits = 8 : i64, constant = true, lanes = 256 : i64, reads = 4 : i64, words = 128 : i64}
// CHECK: affine.load %{{.+}} {gradcam.stage = 4 : i64} : memref<16x128x16xi8>
// CHECK: affine.load %{{.+}} {gradcam.latency = 5 : i64, gradcam.stage = 0 : i64} : memref<128x16x16xi8>

// A memory's word is not narrower than a beat.
// BEAT: weights = {bits = 8 : i64, constant = false, lanes = 256 : i64, reads = 2 : i64, words = 128 : i64}

// WIDE: weights = {bits = 8 : i64, constant = true, lanes = 256 : i64, words = 128 : i64}
// WIDE: affine.load %{{.+}} {gradcam.stage = 0 : i64} : memref<16x128x16xi8>
// WIDE: affine.load %{{.+}} {gradcam.stage = 0 : i64} : memref<128x16x16xi8>
memref.global "private" constant @w : memref<128x16x16xi8> = dense<1>
func.func @main(%image: memref<16x128x16xi8>, %out: memref<16x16xi32>) {
  %zero = arith.constant 0 : i32
  %w = memref.get_global @w : memref<128x16x16xi8>
  %sums = memref.alloca() : memref<8x16xi32>
  %x = memref.alloc() : memref<16x128x16xi8>
  %y = memref.alloc() : memref<16x16xi32>
  affine.for %p = 0 to 16 {
    affine.for %k = 0 to 128 {
      affine.parallel (%l) = (0) to (16) {
        %v = affine.load %image[%p, %k, %l] : memref<16x128x16xi8>
        affine.store %v, %x[%p, %k, %l] : memref<16x128x16xi8>
      }
    }
  }
  affine.for %o = 0 to 2 {
    affine.for %p = 0 to 8 {
      affine.parallel (%l) = (0) to (16) {
        affine.store %zero, %sums[%p, %l] : memref<8x16xi32>
      }
    }
    affine.for %k = 0 to 128 {
      affine.for %p = 0 to 8 {
        affine.parallel (%l) = (0) to (16) {
          %s = affine.parallel (%j) = (0) to (16) reduce ("addi") -> (i32) {
            %a = affine.load %x[%o * 8 + %p, %k, %j] : memref<16x128x16xi8>
            %b = affine.load %w[%k, %l, %j] : memref<128x16x16xi8>
            %c = arith.extsi %a : i8 to i32
            %d = arith.extsi %b : i8 to i32
            %e = arith.muli %c, %d : i32
            affine.yield %e : i32
          }
          %before = affine.load %sums[%p, %l] : memref<8x16xi32>
          %sum = arith.addi %before, %s : i32
          affine.store %sum, %sums[%p, %l] : memref<8x16xi32>
        }
      }
    }
    affine.for %p = 0 to 8 {
      affine.parallel (%l) = (0) to (16) {
        %v = affine.load %sums[%p, %l] : memref<8x16xi32>
        affine.store %v, %y[%o * 8 + %p, %l] : memref<16x16xi32>
      }
    }
  } {gradcam.engine = "mac"}
  affine.for %p = 0 to 16 {
    affine.parallel (%l) = (0) to (16) {
      %v = affine.load %y[%p, %l] : memref<16x16xi32>
      affine.store %v, %out[%p, %l] : memref<16x16xi32>
    }
  }
  return
}

// RUN: %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-set-platform{dram-width=8 dram-latency=4},gradcam-plan-memory,gradcam-stream-weights,gradcam-assign-cycles)' | FileCheck %s --check-prefix=START
// RUN: %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-set-platform{dram-width=8 dram-latency=4},gradcam-plan-memory,gradcam-stream-weights,gradcam-size-ring,gradcam-assign-cycles)' | FileCheck %s --check-prefix=LEAST
// RUN: %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-set-platform{dram-width=8 dram-latency=4},gradcam-plan-memory,gradcam-stream-weights,gradcam-size-ring{bytes=19604},gradcam-assign-cycles)' | FileCheck %s --check-prefix=LIMIT
// RUN: %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-set-platform{dram-width=8 dram-latency=4},gradcam-plan-memory,gradcam-stream-weights,gradcam-size-ring{bytes=500},gradcam-assign-cycles)' | FileCheck %s --check-prefix=END
// RUN: not %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-set-platform{dram-width=8 dram-latency=4},gradcam-plan-memory,gradcam-stream-weights,gradcam-size-ring{file=%S/Inputs/size-ring.json})' 2>&1 | FileCheck %s --check-prefix=SMALL
// RUN: not %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-plan-memory,gradcam-size-ring)' 2>&1 | FileCheck %s --check-prefix=NONE

// Tiles of 300 words of 4 bytes, read five times each. While one is read for the last time, words of the next one
// arrive in the places that become free, 64 words in a burst: 512 words are as good as 1024. With less there is waiting,
// and a tile and a burst are the least. The buffer of a result packet takes 4 * (1 + 4500) bytes of what is allowed.
// START: lanes = 4 : i64, words = 1024 : i64}}{{.*}} total = 5406 : i64
// LEAST: lanes = 4 : i64, words = 512 : i64}}{{.*}} total = 5406 : i64
// LIMIT: lanes = 4 : i64, words = 400 : i64}}{{.*}} total = 6172 : i64
// END: lanes = 4 : i64, words = 364 : i64}}{{.*}} total = 6436 : i64
// SMALL: error: a ring of 5 words cannot be: a tile and a burst take 364, all weights 900
// NONE: error: there is no ring of weights; run gradcam-stream-weights first
memref.global "private" constant @w : memref<3x300x4xi8> = dense<1>
func.func @main(%out: memref<3x5x300x4xi8>) {
  %w = memref.get_global @w : memref<3x300x4xi8>
  affine.for %o = 0 to 3 {
    affine.for %pixel = 0 to 5 {
      affine.for %k = 0 to 300 {
        affine.parallel (%l) = (0) to (4) {
          %v = affine.load %w[%o, %k, %l] : memref<3x300x4xi8>
          affine.store %v, %out[%o, %pixel, %k, %l] : memref<3x5x300x4xi8>
        }
      }
    }
  }
  return
}

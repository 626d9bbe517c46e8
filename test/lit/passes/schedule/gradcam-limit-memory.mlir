// RUN: %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-limit-memory{bytes=1668})' | FileCheck %s
// RUN: not %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-limit-memory{bytes=1667})' 2>&1 | FileCheck %s --check-prefix=LARGE
// RUN: not %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-limit-memory)' 2>&1 | FileCheck %s --check-prefix=OPTION

// 8 bits * 16 lanes * 90 words and 32 bits * 1 lane * 30 words; in the core, an image packet of 8 pixels of 4 bytes, and
// a result packet of 1 + 18 words of 32 bits, whatever its elements have.
// CHECK: func.func @main
// LARGE: limit-memory.mlir:11:1: error: the memories on chip take 1,668 bytes, 1 more than the 1,667 allowed: bank0 1,440, biases 120, result_buffer 76, image_buffer 32
// OPTION: bytes
module attributes {gradcam.banks = {biases = {bits = 32, lanes = 1, words = 30, constant = true}, bank0 = {bits = 8, lanes = 16, words = 90, constant = false}}} {
func.func @main(%image: memref<8x4xi8>, %out: memref<18xi8>) {
  %x = memref.alloc() : memref<8x4xi8>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %v = affine.load %image[%i, %l] : memref<8x4xi8>
      affine.store %v, %x[%i, %l] : memref<8x4xi8>
    }
  }
  affine.for %i = 0 to 18 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %x[0, 0] : memref<8x4xi8>
      affine.store %v, %out[%i] : memref<18xi8>
    }
  }
  return
}
}

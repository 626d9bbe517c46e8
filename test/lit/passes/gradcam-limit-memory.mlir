// RUN: %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-limit-memory{bytes=1560})' | FileCheck %s
// RUN: not %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-limit-memory{bytes=1559})' 2>&1 | FileCheck %s --check-prefix=LARGE
// RUN: not %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-limit-memory)' 2>&1 | FileCheck %s --check-prefix=OPTION

// 8 bits * 16 lanes * 90 words and 32 bits * 1 lane * 30 words.
// CHECK: func.func @main
// LARGE: limit-memory.mlir:10:1: error: the memories on chip take 1,560 bytes, 1 more than the 1,559 allowed: bank0 1,440, biases 120
// OPTION: bytes
module attributes {gradcam.banks = {biases = {bits = 32, lanes = 1, words = 30, constant = true}, bank0 = {bits = 8, lanes = 16, words = 90, constant = false}}} {
func.func @main() {
  return
}
}

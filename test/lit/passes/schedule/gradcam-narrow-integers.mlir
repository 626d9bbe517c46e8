// RUN: %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-form-engines,gradcam-narrow-integers)' | FileCheck %s

// By hand: a step of the first nest adds -896 to 889 (channel 1: 7 * -128 and 7 * 127), two steps at most twice as much.
// With the biases channel 0 has 4236 to 5766, channel 1 has -1892 to 1678: 14 bits. Its rescale has at most 5766 * 100 +
// 512, 21 bits, and 563 behind the shift, 11 bits. A step of the second nest, of bytes without a sign, adds -510 to 1785,
// 12 bits. Both share the adders of an engine, so both have 12 and 14 bits. Products keep their type. Logits are -1020
// to 3570, 13 bits in memory, and 32 where they leave. The pool adds up to 2 * 255, 10 bits, which it stores.
// CHECK-LABEL: func.func @main
// CHECK-DAG: memref.alloca() : memref<2xi14>
// CHECK-DAG: memref.alloca() : memref<2xi10>
// CHECK: affine.parallel {{.*}} reduce ("addi") -> (i12)
// CHECK: %[[P:.*]] = arith.muli {{.*}} : i16
// CHECK: %[[E:.*]] = arith.trunci %[[P]] : i16 to i12
// CHECK: affine.yield %[[E]] : i12
// CHECK: arith.addi {{.*}} : i14
// CHECK: arith.addi {{.*}} : i14
// CHECK: arith.muli {{.*}} : i21
// CHECK: arith.addi {{.*}} : i21
// CHECK: arith.shrsi {{.*}} : i21
// CHECK: arith.maxsi {{.*}} : i11
// CHECK: arith.minsi {{.*}} : i11
// CHECK: arith.trunci {{.*}} : i11 to i8
// CHECK: affine.parallel {{.*}} reduce ("addi") -> (i12)
// CHECK: arith.extui {{.*}} : i8 to i16
// CHECK: %[[S:.*]] = arith.addi {{.*}} : i14
// CHECK: affine.store %[[S]], %{{.*}} : memref<2xi14>
// CHECK: %[[A:.*]] = affine.load {{.*}} : memref<2xi14>
// CHECK: %[[L:.*]] = arith.trunci %[[A]] : i14 to i13
// CHECK: affine.store %[[L]], {{.*}} : memref<2xi13>
// CHECK: arith.addi {{.*}} : i10
// CHECK: %[[P:.*]] = affine.load {{.*}} : memref<2xi10>
// CHECK: affine.store %[[P]], {{.*}} : memref<2xi10>
// CHECK: %[[O:.*]] = affine.load {{.*}} : memref<2xi13>
// CHECK: %[[E:.*]] = arith.extsi %[[O]] : i13 to i32
// CHECK: affine.store %[[E]], %arg1
memref.global "private" constant @w : memref<2x2xi8> = dense<[[1, -2], [3, 4]]>
memref.global "private" constant @b : memref<2xi32> = dense<[5000, -100]>
func.func @main(%image: memref<4x2xi8>, %out: memref<2xi32>) {
  %zero = arith.constant 0 : i32
  %m = arith.constant 100 : i48
  %half = arith.constant 512 : i48
  %s = arith.constant 10 : i48
  %lo = arith.constant -128 : i32
  %hi = arith.constant 127 : i32
  %w = memref.get_global @w : memref<2x2xi8>
  %b = memref.get_global @b : memref<2xi32>
  %x = memref.alloc() : memref<4x2xi8>
  %y = memref.alloc() : memref<4x2xi8>
  %z = memref.alloc() : memref<2xi32>
  %sum = memref.alloc() : memref<2xi32>
  %acc = memref.alloca() : memref<2xi32>
  %acc2 = memref.alloca() : memref<2xi32>
  %acc3 = memref.alloca() : memref<2xi32>
  affine.for %n = 0 to 4 { affine.parallel (%l) = (0) to (2) {
    %v = affine.load %image[%n, %l] : memref<4x2xi8>
    affine.store %v, %x[%n, %l] : memref<4x2xi8>
  } }
  affine.for %n = 0 to 3 {
    affine.parallel (%o) = (0) to (2) { affine.store %zero, %acc[%o] : memref<2xi32> }
    affine.for %k = 0 to 2 { affine.parallel (%o) = (0) to (2) {
      %t = affine.parallel (%i) = (0) to (2) reduce ("addi") -> (i32) {
        %xv = affine.load %x[%n + %k, %i] : memref<4x2xi8>
        %wv = affine.load %w[%o, %i] : memref<2x2xi8>
        %xe = arith.extsi %xv : i8 to i16
        %we = arith.extsi %wv : i8 to i16
        %p = arith.muli %xe, %we : i16
        %pe = arith.extsi %p : i16 to i32
        affine.yield %pe : i32
      }
      %a = affine.load %acc[%o] : memref<2xi32>
      %r = arith.addi %a, %t : i32
      affine.store %r, %acc[%o] : memref<2xi32>
    } }
    affine.parallel (%o) = (0) to (2) {
      %a = affine.load %acc[%o] : memref<2xi32>
      %bv = affine.load %b[%o] : memref<2xi32>
      %t = arith.addi %a, %bv : i32
      %e = arith.extsi %t : i32 to i48
      %p = arith.muli %e, %m : i48
      %h = arith.addi %p, %half : i48
      %f = arith.shrsi %h, %s : i48
      %q = arith.trunci %f : i48 to i32
      %low = arith.maxsi %q, %lo : i32
      %high = arith.minsi %low, %hi : i32
      %c = arith.trunci %high : i32 to i8
      affine.store %c, %y[%n, %o] : memref<4x2xi8>
    }
  }
  affine.for %n = 0 to 1 {
    affine.parallel (%o) = (0) to (2) { affine.store %zero, %acc2[%o] : memref<2xi32> }
    affine.for %k = 0 to 2 { affine.parallel (%o) = (0) to (2) {
      %t = affine.parallel (%i) = (0) to (2) reduce ("addi") -> (i32) {
        %xv = affine.load %y[%n + %k, %i] : memref<4x2xi8>
        %wv = affine.load %w[%o, %i] : memref<2x2xi8>
        %xe = arith.extui %xv : i8 to i16
        %we = arith.extsi %wv : i8 to i16
        %p = arith.muli %xe, %we : i16
        %pe = arith.extsi %p : i16 to i32
        affine.yield %pe : i32
      }
      %a = affine.load %acc2[%o] : memref<2xi32>
      %r = arith.addi %a, %t : i32
      affine.store %r, %acc2[%o] : memref<2xi32>
    } }
    affine.parallel (%o) = (0) to (2) {
      %a = affine.load %acc2[%o] : memref<2xi32>
      affine.store %a, %z[%o] : memref<2xi32>
    }
  }
  affine.for %n = 0 to 1 {
    affine.parallel (%o) = (0) to (2) { affine.store %zero, %acc3[%o] : memref<2xi32> }
    affine.for %k = 0 to 2 { affine.parallel (%o) = (0) to (2) {
      %xv = affine.load %y[%n + %k, %o] : memref<4x2xi8>
      %e = arith.extui %xv : i8 to i32
      %a = affine.load %acc3[%o] : memref<2xi32>
      %r = arith.addi %a, %e : i32
      affine.store %r, %acc3[%o] : memref<2xi32>
    } }
    affine.parallel (%o) = (0) to (2) {
      %a = affine.load %acc3[%o] : memref<2xi32>
      affine.store %a, %sum[%o] : memref<2xi32>
    }
  }
  affine.for %n = 0 to 2 { affine.parallel (%l) = (0) to (1) {
    %v = affine.load %z[%n] : memref<2xi32>
    affine.store %v, %out[%n] : memref<2xi32>
  } }
  return
}

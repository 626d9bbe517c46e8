// With dsp-packing, products that share a factor with the neighbouring lane come in pairs out of one multiplication.
// RUN: %gradcam_opt %s --split-input-file -o %t.mlir --pass-pipeline='builtin.module(gradcam-form-engines,gradcam-plan-memory,gradcam-assign-cycles,convert-affine-to-hw{dsp-packing})'
// RUN: FileCheck %s < %t.mlir
// Not where the sum of the two other factors is wider than a DSP slice takes, as with 12 bits:
// RUN: sed 's/2x2xi8/2x2xi12/; s/%%wv : i8/%%wv : i12/; s/i16/i24/' %s > %t.wide.mlir
// RUN: %gradcam_opt %t.wide.mlir --split-input-file --pass-pipeline='builtin.module(gradcam-form-engines,gradcam-plan-memory,gradcam-assign-cycles,convert-affine-to-hw{dsp-packing})' | FileCheck %s --check-prefix=WIDE

// WIDE: hw.module @engine_mac(
// WIDE-COUNT-4: comb.mul {{.+}} : i24
// WIDE-NOT: comb.mul
// WIDE: hw.module @engine_store(

// A matrix times a vector on two output and two input lanes: the output lanes share a multiplication for each input lane.

// CHECK: hw.module @engine_mac(
// The lower lane in its place and the upper one 16 bits above; a factor of 25 bits.
// CHECK: [[SHIFTED:%.+]] = comb.concat {{.+}}, %c0_i16 : i9, i16
// CHECK: comb.add [[SHIFTED]], {{.+}} : i25
// CHECK: [[BOTH:%.+]] = comb.mul {{.+}} : i32
// CHECK: %products_s1 = seq.compreg [[BOTH]], %clk : i32
// CHECK: comb.extract %products_s1 from 0 : (i32) -> i16
// CHECK: comb.mul {{.+}} : i32
// CHECK: %products_s1_0 = seq.compreg
// CHECK-NOT: comb.mul
// The upper product with the borrow of a negative lower one.
// CHECK: [[BORROW:%.+]] = comb.extract %products_s1 from 15 : (i32) -> i1
// CHECK: [[UPPER:%.+]] = comb.extract %products_s1 from 16 : (i32) -> i16
// CHECK: [[CARRY:%.+]] = comb.concat %c0_i15, [[BORROW]] : i15, i1
// CHECK: comb.add [[UPPER]], [[CARRY]] : i16
// CHECK-NOT: comb.mul
// CHECK: hw.module @engine_store(

memref.global "private" constant @w : memref<4x2x2xi8> = dense<-3>
func.func @shared(%image: memref<4x2xi8> {gradcam.name = "image"}, %out: memref<2xi32> {gradcam.name = "out"}) {
  %c0 = arith.constant 0 : i32
  %w = memref.get_global @w : memref<4x2x2xi8>
  %x = memref.alloc() : memref<4x2xi8>
  %y = memref.alloc() : memref<2xi32>
  %acc = memref.alloca() : memref<2xi32>
  affine.for %t = 0 to 4 {
    affine.parallel (%l) = (0) to (2) {
      %v = affine.load %image[%t, %l] : memref<4x2xi8>
      affine.store %v, %x[%t, %l] : memref<4x2xi8>
    }
  }
  affine.for %one = 0 to 1 {
    affine.parallel (%o) = (0) to (2) {
      affine.store %c0, %acc[%o] : memref<2xi32>
    }
    affine.for %t = 0 to 4 {
      affine.parallel (%o) = (0) to (2) {
        %sum = affine.parallel (%i) = (0) to (2) reduce ("addi") -> (i32) {
          %xv = affine.load %x[%t, %i] : memref<4x2xi8>
          %wv = affine.load %w[%t, %o, %i] : memref<4x2x2xi8>
          %xe = arith.extsi %xv : i8 to i16
          %we = arith.extsi %wv : i8 to i16
          %p = arith.muli %we, %xe : i16
          %pe = arith.extsi %p : i16 to i32
          affine.yield %pe : i32
        }
        %a = affine.load %acc[%o] : memref<2xi32>
        %n = arith.addi %a, %sum : i32
        affine.store %n, %acc[%o] : memref<2xi32>
      }
    }
    affine.parallel (%o) = (0) to (2) {
      %a = affine.load %acc[%o] : memref<2xi32>
      affine.store %a, %y[%o] : memref<2xi32>
    }
  }
  affine.for %i = 0 to 2 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %y[%i] : memref<2xi32>
      affine.store %v, %out[%i] : memref<2xi32>
    }
  }
  return
}

// -----

// Lanes that share no factor, as those of a depthwise convolution, keep a multiplication each.

// CHECK: hw.module @engine_depthwise(
// CHECK-COUNT-2: comb.mul {{.+}} : i16
// CHECK-NOT: comb.mul
// CHECK: hw.module @engine_store(

memref.global "private" constant @v : memref<4x2xi8> = dense<5>
func.func @apart(%image: memref<4x2xi8> {gradcam.name = "image"}, %out: memref<2xi32> {gradcam.name = "out"}) {
  %c0 = arith.constant 0 : i32
  %v = memref.get_global @v : memref<4x2xi8>
  %x = memref.alloc() : memref<4x2xi8>
  %y = memref.alloc() : memref<2xi32>
  %acc = memref.alloca() : memref<2xi32>
  affine.for %t = 0 to 4 {
    affine.parallel (%l) = (0) to (2) {
      %p = affine.load %image[%t, %l] : memref<4x2xi8>
      affine.store %p, %x[%t, %l] : memref<4x2xi8>
    }
  }
  affine.for %one = 0 to 1 {
    affine.parallel (%l) = (0) to (2) {
      affine.store %c0, %acc[%l] : memref<2xi32>
    }
    affine.for %t = 0 to 4 {
      affine.parallel (%l) = (0) to (2) {
        %xv = affine.load %x[%t, %l] : memref<4x2xi8>
        %vv = affine.load %v[%t, %l] : memref<4x2xi8>
        %xe = arith.extsi %xv : i8 to i16
        %ve = arith.extsi %vv : i8 to i16
        %p = arith.muli %xe, %ve : i16
        %pe = arith.extsi %p : i16 to i32
        %a = affine.load %acc[%l] : memref<2xi32>
        %n = arith.addi %a, %pe : i32
        affine.store %n, %acc[%l] : memref<2xi32>
      }
    }
    affine.parallel (%l) = (0) to (2) {
      %a = affine.load %acc[%l] : memref<2xi32>
      affine.store %a, %y[%l] : memref<2xi32>
    }
  }
  affine.for %i = 0 to 2 {
    affine.parallel (%l) = (0) to (1) {
      %p = affine.load %y[%i] : memref<2xi32>
      affine.store %p, %out[%i] : memref<2xi32>
    }
  }
  return
}

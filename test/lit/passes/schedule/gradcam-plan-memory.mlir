// RUN: %gradcam_opt %s --gradcam-plan-memory --split-input-file --verify-diagnostics | FileCheck %s

// %y is read together with %x, so it gets another bank; %z is made when %x is dead and takes its place.
// A word is as wide as the widest access; constants lie in read-only banks. A buffer of one element is a register.
// CHECK: module attributes {gradcam.banks = {
// CHECK-SAME: bank0 = {bits = 8 : i64, constant = false, lanes = 4 : i64, words = 8 : i64}
// CHECK-SAME: bank1 = {bits = 8 : i64, constant = false, lanes = 4 : i64, words = 8 : i64}
// CHECK-SAME: weights = {bits = 8 : i64, constant = true, lanes = 4 : i64, words = 2 : i64}
// CHECK: memref.get_global @w : memref<8xi8> {gradcam.bank = "weights", gradcam.offset = 0 : i64}
// CHECK: memref.alloc() {gradcam.bank = "bank0", gradcam.offset = 0 : i64} : memref<8x4xi8>
// CHECK: memref.alloc() {gradcam.bank = "bank1", gradcam.offset = 0 : i64} : memref<8x4xi8>
// CHECK: memref.alloc() {gradcam.bank = "bank0", gradcam.offset = 0 : i64} : memref<4x4xi8>
// CHECK: memref.alloc() : memref<1xi8>
memref.global "private" constant @w : memref<8xi8> = dense<3>
func.func @main(%image: memref<8x4xi8>, %out: memref<4x4xi8>) {
  %w = memref.get_global @w : memref<8xi8>
  %x = memref.alloc() : memref<8x4xi8>
  %y = memref.alloc() : memref<8x4xi8>
  %z = memref.alloc() : memref<4x4xi8>
  %r = memref.alloc() : memref<1xi8>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %v = affine.load %image[%i, %l] : memref<8x4xi8>
      affine.store %v, %x[%i, %l] : memref<8x4xi8>
    }
  }
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %v = affine.load %x[%i, %l] : memref<8x4xi8>
      %c = affine.load %w[%l] : memref<8xi8>
      %n = arith.addi %v, %c : i8
      affine.store %n, %y[%i, %l] : memref<8x4xi8>
    }
  }
  affine.for %i = 0 to 1 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %x[%i, %l] : memref<8x4xi8>
      %u = affine.load %y[%i, %l] : memref<8x4xi8>
      %n = arith.addi %u, %v : i8
      affine.store %n, %r[0] : memref<1xi8>
    }
  }
  affine.for %i = 0 to 4 {
    affine.parallel (%l) = (0) to (4) {
      %v = affine.load %y[%i, %l] : memref<8x4xi8>
      affine.store %v, %z[%i, %l] : memref<4x4xi8>
    }
  }
  affine.for %i = 0 to 4 {
    affine.for %c = 0 to 4 {
      affine.parallel (%l) = (0) to (1) {
        %v = affine.load %z[%i, %c] : memref<4x4xi8>
        affine.store %v, %out[%i, %c] : memref<4x4xi8>
      }
    }
  }
  return
}

// -----

func.func @twice(%out: memref<7xi8>) {
  %x = memref.alloc() : memref<8xi8>
  // expected-error@+1 {{one buffer is read twice in a cycle; run gradcam-duplicate-buffers first}}
  affine.for %i = 0 to 7 {
    affine.parallel (%l) = (0) to (1) {
      %a = affine.load %x[%i] : memref<8xi8>
      %b = affine.load %x[%i + 1] : memref<8xi8>
      %n = arith.addi %a, %b : i8
      affine.store %n, %out[%i] : memref<7xi8>
    }
  }
  return
}

// -----

func.func @unused() {
  // expected-error@+1 {{no nest uses the buffer; run canonicalize first}}
  %x = memref.alloc() : memref<8xi8>
  return
}

// -----

// What one nest writes in one cycle lies in different banks; a mask has words of single bits.
// CHECK: module attributes {gradcam.banks = {
// CHECK-SAME: bank0 = {bits = 8 : i64, constant = false, lanes = 4 : i64, words = 8 : i64}
// CHECK-SAME: bank1 = {bits = 8 : i64, constant = false, lanes = 4 : i64, words = 8 : i64}
// CHECK-SAME: bank2 = {bits = 1 : i64, constant = false, lanes = 4 : i64, words = 8 : i64}
// CHECK: memref.alloc() {gradcam.bank = "bank0", gradcam.offset = 0 : i64} : memref<8x4xi8>
// CHECK: memref.alloc() {gradcam.bank = "bank1", gradcam.offset = 0 : i64} : memref<8x4xi8>
// CHECK: memref.alloc() {gradcam.bank = "bank2", gradcam.offset = 0 : i64} : memref<8x4xi1>
func.func @two(%image: memref<8x4xi8>, %first: memref<8x4xi8>, %second: memref<8x4xi8>) {
  %c0 = arith.constant 0 : i8
  %x = memref.alloc() : memref<8x4xi8>
  %y = memref.alloc() : memref<8x4xi8>
  %m = memref.alloc() : memref<8x4xi1>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %v = affine.load %image[%i, %l] : memref<8x4xi8>
      %n = arith.addi %v, %v : i8
      %k = arith.cmpi sgt, %v, %c0 : i8
      affine.store %v, %x[%i, %l] : memref<8x4xi8>
      affine.store %n, %y[%i, %l] : memref<8x4xi8>
      affine.store %k, %m[%i, %l] : memref<8x4xi1>
    }
  }
  affine.for %i = 0 to 8 {
    affine.for %l = 0 to 4 {
      affine.parallel (%u) = (0) to (1) {
        %v = affine.load %x[%i, %l] : memref<8x4xi8>
        %k = affine.load %m[%i, %l] : memref<8x4xi1>
        %n = arith.select %k, %v, %c0 : i8
        affine.store %n, %first[%i, %l] : memref<8x4xi8>
      }
    }
  }
  affine.for %i = 0 to 8 {
    affine.for %l = 0 to 4 {
      affine.parallel (%u) = (0) to (1) {
        %v = affine.load %y[%i, %l] : memref<8x4xi8>
        affine.store %v, %second[%i, %l] : memref<8x4xi8>
      }
    }
  }
  return
}

// -----

// %y is read beside %x and written beside %z, as the two nests run at the same time. It is a ring of two words, so it starts
// at the next even word behind %v.
// CHECK: bank0 = {bits = 8 : i64, constant = false, lanes = 4 : i64, words = 6 : i64}
// CHECK-SAME: bank1 = {bits = 8 : i64, constant = false, lanes = 4 : i64, words = 16 : i64}
// CHECK: memref.alloc() {gradcam.bank = "bank0", gradcam.offset = 0 : i64} : memref<3x4xi8>
// CHECK: memref.alloc() {gradcam.bank = "bank1", gradcam.offset = 0 : i64} : memref<8x4xi8>
// CHECK: memref.alloc() {gradcam.bank = "bank0", gradcam.offset = 4 : i64, gradcam.ring = 8 : i64} : memref<8x4xi8>
// CHECK: memref.alloc() {gradcam.bank = "bank1", gradcam.offset = 8 : i64} : memref<8x4xi8>
func.func @side_by_side(%first: memref<3x4xi8>, %second: memref<8x4xi8>, %sum: memref<3x4xi8>, %out: memref<8x4xi8>) {
  %v = memref.alloc() : memref<3x4xi8>
  %x = memref.alloc() : memref<8x4xi8>
  %y = memref.alloc() {gradcam.ring = 8 : i64} : memref<8x4xi8>
  %z = memref.alloc() : memref<8x4xi8>
  affine.for %i = 0 to 3 {
    affine.parallel (%l) = (0) to (4) {
      %e = affine.load %first[%i, %l] : memref<3x4xi8>
      affine.store %e, %v[%i, %l] : memref<3x4xi8>
    }
  }
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %e = affine.load %second[%i, %l] : memref<8x4xi8>
      affine.store %e, %x[%i, %l] : memref<8x4xi8>
    }
  }
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %e = affine.load %x[%i, %l] : memref<8x4xi8>
      affine.store %e, %y[%i, %l] : memref<8x4xi8>
    }
  } {gradcam.counted = 1 : i64}
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %e = affine.load %y[%i, %l] : memref<8x4xi8>
      affine.store %e, %z[%i, %l] : memref<8x4xi8>
    }
  } {gradcam.follows = affine_map<(d0) -> (d0 + 1)>}
  affine.for %i = 0 to 3 {
    affine.parallel (%l) = (0) to (4) {
      %e = affine.load %v[%i, %l] : memref<3x4xi8>
      %u = affine.load %x[%i, %l] : memref<8x4xi8>
      %n = arith.addi %e, %u : i8
      affine.store %n, %sum[%i, %l] : memref<3x4xi8>
    }
  }
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %e = affine.load %z[%i, %l] : memref<8x4xi8>
      affine.store %e, %out[%i, %l] : memref<8x4xi8>
    }
  }
  return
}

// -----

// The first nest reads eight lanes of %a. The second and the third read four lanes, of %a and of %b, through the same
// port of their engine, so the words of %b are as wide as those of %a.
// CHECK: weights = {bits = 8 : i64, constant = true, lanes = 8 : i64, words = 2 : i64}
// CHECK: memref.get_global @a : memref<8xi8> {gradcam.bank = "weights", gradcam.offset = 0 : i64}
// CHECK: memref.get_global @b : memref<8xi8> {gradcam.bank = "weights", gradcam.offset = 1 : i64}
memref.global "private" @a : memref<8xi8> = dense<3>
memref.global "private" @b : memref<8xi8> = dense<5>
func.func @port(%out: memref<8xi8>) {
  %a = memref.get_global @a : memref<8xi8>
  %b = memref.get_global @b : memref<8xi8>
  affine.for %i = 0 to 1 {
    affine.parallel (%l) = (0) to (8) {
      %v = affine.load %a[%l] : memref<8xi8>
      affine.store %v, %out[%l] : memref<8xi8>
    }
  } {gradcam.engine = "wide"}
  affine.for %i = 0 to 2 {
    affine.parallel (%l) = (0) to (4) {
      %v = affine.load %a[%i * 4 + %l] : memref<8xi8>
      affine.store %v, %out[%i * 4 + %l] : memref<8xi8>
    }
  } {gradcam.engine = "narrow"}
  affine.for %i = 0 to 2 {
    affine.parallel (%l) = (0) to (4) {
      %v = affine.load %b[%i * 4 + %l] : memref<8xi8>
      affine.store %v, %out[%i * 4 + %l] : memref<8xi8>
    }
  } {gradcam.engine = "narrow"}
  return
}

// -----

// %z is written element by element over %x, which each step reads just before: the same bank and offset.
// CHECK: module attributes {gradcam.banks = {
// CHECK-SAME: bank0 = {bits = 8 : i64, constant = false, lanes = 4 : i64, words = 8 : i64}
// CHECK-SAME: bank1 = {bits = 8 : i64, constant = false, lanes = 4 : i64, words = 8 : i64}
// CHECK-LABEL: func.func @in_place
// CHECK: memref.alloc() {gradcam.bank = "bank0", gradcam.offset = 0 : i64} : memref<8x4xi8>
// CHECK: memref.alloc() {gradcam.bank = "bank1", gradcam.offset = 0 : i64} : memref<8x4xi8>
// CHECK: memref.alloc() {gradcam.bank = "bank0", gradcam.offset = 0 : i64} : memref<8x4xi8>
func.func @in_place(%first: memref<8x4xi8>, %second: memref<8x4xi8>, %out: memref<8x4xi8>) {
  %x = memref.alloc() : memref<8x4xi8>
  %y = memref.alloc() : memref<8x4xi8>
  %z = memref.alloc() : memref<8x4xi8>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %e = affine.load %first[%i, %l] : memref<8x4xi8>
      affine.store %e, %x[%i, %l] : memref<8x4xi8>
    }
  }
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %e = affine.load %second[%i, %l] : memref<8x4xi8>
      affine.store %e, %y[%i, %l] : memref<8x4xi8>
    }
  }
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %e = affine.load %x[%i, %l] : memref<8x4xi8>
      %u = affine.load %y[-%i + 7, %l] : memref<8x4xi8>
      %n = arith.addi %e, %u : i8
      affine.store %n, %z[%i, %l] : memref<8x4xi8>
    }
  }
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %e = affine.load %z[%i, %l] : memref<8x4xi8>
      affine.store %e, %out[%i, %l] : memref<8x4xi8>
    }
  }
  return
}

// -----

// Not in place: %y has the elements of %x in another order.
// CHECK: bank0 = {bits = 8 : i64, constant = false, lanes = 4 : i64, words = 16 : i64}
// CHECK-LABEL: func.func @reversed
// CHECK: memref.alloc() {gradcam.bank = "bank0", gradcam.offset = 0 : i64} : memref<8x4xi8>
// CHECK: memref.alloc() {gradcam.bank = "bank0", gradcam.offset = 8 : i64} : memref<8x4xi8>
func.func @reversed(%image: memref<8x4xi8>, %out: memref<8x4xi8>) {
  %x = memref.alloc() : memref<8x4xi8>
  %y = memref.alloc() : memref<8x4xi8>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %e = affine.load %image[%i, %l] : memref<8x4xi8>
      affine.store %e, %x[%i, %l] : memref<8x4xi8>
    }
  }
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %e = affine.load %x[-%i + 7, %l] : memref<8x4xi8>
      affine.store %e, %y[%i, %l] : memref<8x4xi8>
    }
  }
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %e = affine.load %y[%i, %l] : memref<8x4xi8>
      affine.store %e, %out[%i, %l] : memref<8x4xi8>
    }
  }
  return
}

// -----

// Not in place: the second pass reads the elements of %x again.
// CHECK: bank0 = {bits = 8 : i64, constant = false, lanes = 4 : i64, words = 16 : i64}
// CHECK-LABEL: func.func @reread
// CHECK: memref.alloc() {gradcam.bank = "bank0", gradcam.offset = 0 : i64} : memref<8x4xi8>
// CHECK: memref.alloc() {gradcam.bank = "bank0", gradcam.offset = 8 : i64} : memref<8x4xi8>
func.func @reread(%image: memref<8x4xi8>, %out: memref<8x4xi8>) {
  %x = memref.alloc() : memref<8x4xi8>
  %y = memref.alloc() : memref<8x4xi8>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %e = affine.load %image[%i, %l] : memref<8x4xi8>
      affine.store %e, %x[%i, %l] : memref<8x4xi8>
    }
  }
  affine.for %k = 0 to 2 {
    affine.for %i = 0 to 8 {
      affine.parallel (%l) = (0) to (4) {
        %e = affine.load %x[%i, %l] : memref<8x4xi8>
        affine.store %e, %y[%i, %l] : memref<8x4xi8>
      }
    }
  }
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %e = affine.load %y[%i, %l] : memref<8x4xi8>
      affine.store %e, %out[%i, %l] : memref<8x4xi8>
    }
  }
  return
}

// -----

// Not in place: %x is read again later, although %y is written where it is read; %z, in the place of %y, may be.
// CHECK: bank0 = {bits = 8 : i64, constant = false, lanes = 4 : i64, words = 8 : i64}
// CHECK-SAME: bank1 = {bits = 8 : i64, constant = false, lanes = 4 : i64, words = 8 : i64}
// CHECK-LABEL: func.func @read_again
// CHECK: memref.alloc() {gradcam.bank = "bank0", gradcam.offset = 0 : i64} : memref<8x4xi8>
// CHECK: memref.alloc() {gradcam.bank = "bank1", gradcam.offset = 0 : i64} : memref<8x4xi8>
// CHECK: memref.alloc() {gradcam.bank = "bank0", gradcam.offset = 0 : i64} : memref<8x4xi8>
func.func @read_again(%image: memref<8x4xi8>, %out: memref<8x4xi8>) {
  %x = memref.alloc() : memref<8x4xi8>
  %y = memref.alloc() : memref<8x4xi8>
  %z = memref.alloc() : memref<8x4xi8>
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %e = affine.load %image[%i, %l] : memref<8x4xi8>
      affine.store %e, %x[%i, %l] : memref<8x4xi8>
    }
  }
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %e = affine.load %x[%i, %l] : memref<8x4xi8>
      affine.store %e, %y[%i, %l] : memref<8x4xi8>
    }
  }
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %e = affine.load %x[%i, %l] : memref<8x4xi8>
      %u = affine.load %y[%i, %l] : memref<8x4xi8>
      %n = arith.addi %e, %u : i8
      affine.store %n, %z[%i, %l] : memref<8x4xi8>
    }
  }
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (4) {
      %e = affine.load %z[%i, %l] : memref<8x4xi8>
      affine.store %e, %out[%i, %l] : memref<8x4xi8>
    }
  }
  return
}

// -----

// %y with 64 words in LUTs gets a bank of its own: with the word %x, which is a register, it would take block RAMs.
// %z, for which the bank of %y has room when %y is dead, does not get another one.
// CHECK: bank0 = {bits = 32 : i64, constant = false, lanes = 16 : i64, words = 1 : i64}
// CHECK-SAME: bank1 = {bits = 32 : i64, constant = false, lanes = 16 : i64, words = 64 : i64}
// CHECK-LABEL: func.func @few
// CHECK: memref.alloc() {gradcam.bank = "bank0", gradcam.offset = 0 : i64} : memref<1x16xi32>
// CHECK: memref.alloc() {gradcam.bank = "bank1", gradcam.offset = 0 : i64} : memref<64x16xi32>
// CHECK: memref.alloc() {gradcam.bank = "bank1", gradcam.offset = 0 : i64} : memref<8x16xi32>
func.func @few(%first: memref<1x16xi32>, %image: memref<64x16xi32>, %logits: memref<1x16xi32>, %out: memref<64x16xi32>) {
  %x = memref.alloc() : memref<1x16xi32>
  %y = memref.alloc() : memref<64x16xi32>
  %z = memref.alloc() : memref<8x16xi32>
  affine.for %i = 0 to 1 {
    affine.parallel (%l) = (0) to (16) {
      %e = affine.load %first[%i, %l] : memref<1x16xi32>
      affine.store %e, %x[%i, %l] : memref<1x16xi32>
    }
  }
  affine.for %i = 0 to 64 {
    affine.parallel (%l) = (0) to (16) {
      %e = affine.load %image[%i, %l] : memref<64x16xi32>
      affine.store %e, %y[%i, %l] : memref<64x16xi32>
    }
  }
  affine.for %i = 0 to 64 {
    affine.parallel (%l) = (0) to (16) {
      %e = affine.load %y[%i, %l] : memref<64x16xi32>
      affine.store %e, %out[%i, %l] : memref<64x16xi32>
    }
  }
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (16) {
      %e = affine.load %out[%i, %l] : memref<64x16xi32>
      affine.store %e, %z[%i, %l] : memref<8x16xi32>
    }
  }
  affine.for %i = 0 to 1 {
    affine.parallel (%l) = (0) to (16) {
      %e = affine.load %x[%i, %l] : memref<1x16xi32>
      %u = affine.load %z[%i, %l] : memref<8x16xi32>
      %n = arith.addi %e, %u : i32
      affine.store %n, %logits[%i, %l] : memref<1x16xi32>
    }
  }
  return
}

// -----

// A position of %map has one element, so a word of its bank has one; %x has four lanes, although only one is read here.
// CHECK: bank0 = {bits = 8 : i64, constant = false, lanes = 4 : i64, words = 4 : i64}
// CHECK-SAME: bank1 = {bits = 8 : i64, constant = false, lanes = 1 : i64, words = 4 : i64}
func.func @narrow(%image: memref<4x4xi8>, %out: memref<4xi8>) {
  %x = memref.alloc() : memref<4x4xi8>
  %map = memref.alloc() : memref<4x1xi8>
  affine.for %i = 0 to 4 {
    affine.parallel (%l) = (0) to (4) {
      %v = affine.load %image[%i, %l] : memref<4x4xi8>
      affine.store %v, %x[%i, %l] : memref<4x4xi8>
    }
  }
  affine.for %i = 0 to 4 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %x[%i, 2] : memref<4x4xi8>
      affine.store %v, %map[%i, %l] : memref<4x1xi8>
    }
  }
  affine.for %i = 0 to 4 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %map[%i, %l] : memref<4x1xi8>
      affine.store %v, %out[%i] : memref<4xi8>
    }
  }
  return
}

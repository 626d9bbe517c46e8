// What the pass says where a pass before it has not run.
// RUN: %gradcam_opt %s --convert-affine-to-hw --split-input-file --verify-diagnostics

func.func @engines(%image: memref<8xi8>, %out: memref<8xi8>) {
  // expected-error@+1 {{the nest has no 'gradcam.engine'; run gradcam-form-engines first}}
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (1) {
      %v = affine.load %image[%i] : memref<8xi8>
      affine.store %v, %out[%i] : memref<8xi8>
    }
  }
  return
}

// -----

func.func @stages(%image: memref<8xi8>, %out: memref<8xi8>) {
  affine.for %i = 0 to 8 {
    affine.parallel (%l) = (0) to (1) {
      // expected-error@+1 {{the op has no 'gradcam.stage'; run gradcam-assign-cycles first}}
      %v = affine.load %image[%i] : memref<8xi8>
      affine.store %v, %out[%i] : memref<8xi8>
    }
  } {gradcam.engine = "load", gradcam.epilogue = "0"}
  return
}

// -----

// expected-error@+1 {{the module has no 'gradcam.banks'; run gradcam-plan-memory first}}
module {
  func.func @banks(%image: memref<8xi8>, %out: memref<8xi8>) {
    affine.for %i = 0 to 8 {
      affine.parallel (%l) = (0) to (1) {
        %v = affine.load %image[%i] {gradcam.stage = 0 : i64} : memref<8xi8>
        affine.store %v, %out[%i] {gradcam.stage = 1 : i64} : memref<8xi8>
      }
    } {gradcam.engine = "load", gradcam.epilogue = "0"}
    return
  }
}

// -----

module attributes {gradcam.banks = {}} {
  func.func @places(%image: memref<8xi8>, %out: memref<8xi8>) {
    // expected-error@+1 {{the buffer has no 'gradcam.bank'; run gradcam-plan-memory first}}
    %x = memref.alloc() : memref<8xi8>
    affine.for %i = 0 to 8 {
      affine.parallel (%l) = (0) to (1) {
        %v = affine.load %image[%i] {gradcam.stage = 0 : i64} : memref<8xi8>
        affine.store %v, %x[%i] {gradcam.stage = 1 : i64} : memref<8xi8>
      }
    } {gradcam.engine = "load", gradcam.epilogue = "0"}
    return
  }
}

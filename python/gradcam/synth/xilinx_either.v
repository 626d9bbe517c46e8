// Sum of products of signed numbers as a cascade of DSP slices, whose factors b come from b0 or, where second is 1, from
// b1. A template for one module of a design; see instances.py, and xilinx_dot.v and xilinx_dots.v, whose slices these are.
// Their pre-adder adds b0 on port A to b1 on port D, one of them 0. INMODE: A2 and B2, or 0, D and B2.
module ${name} (
  input clk, input ce, input [$terms*$left-1:0] a, input [$terms*$right-1:0] b0, input [$terms*$right-1:0] b1,
  input second, output [$bits-1:0] sum0
);
  wire [48*$terms-1:0] sums, cascade;
  assign sum0 = sums[48*($terms-1) +: $bits];
  genvar i;
  generate for (i = 0; i < $terms; i = i + 1) begin : term
    wire [$left+2*$right+1-1:0] factors;
    if (i < 2)
      assign factors = {second, a[$left*i +: $left], b1[$right*i +: $right], b0[$right*i +: $right]};
    else begin
      reg [($left+2*$right+1)*(i-1)-1:0] late;
      always @(posedge clk)
        if (ce) late <= {late, second, a[$left*i +: $left], b1[$right*i +: $right], b0[$right*i +: $right]};
      assign factors = late[($left+2*$right+1)*(i-2) +: $left+2*$right+1];
    end
    wire signed [17:0] left = $$signed(factors[2*$right +: $left]);
    wire signed [29:0] first = $$signed(factors[$right-1:0]);
    wire signed [$preadder-1:0] other = $$signed(factors[$right +: $right]);
    $slice #(
      $preadd, .ADREG(i ? 1 : 0), .DREG(1), .AREG(1), .ACASCREG(1), .BREG(i ? 2 : 1), .BCASCREG(i ? 2 : 1),
      .MREG(1), .PREG(1), .CREG(0), .ALUMODEREG(0), .CARRYINREG(0), .CARRYINSELREG(0), .INMODEREG(1), .OPMODEREG(0)
    ) slice (
      .CLK(clk), .A(first), .B(left), .D(other), .P(sums[48*i +: 48]), .PCOUT(cascade[48*i +: 48]),
      .PCIN(i ? cascade[48*(i ? i-1 : 0) +: 48] : 48'b0), .OPMODE(i ? 7'b0010101 : 7'b0000101),
      .C(48'b0), .ACIN(30'b0), .BCIN(18'b0), .ALUMODE(4'b0), .INMODE({2'b0, {2{factors[$left+2*$right]}}, 1'b0}),
      .CARRYIN(1'b0), .CARRYINSEL(3'b0), .CARRYCASCIN(1'b0), .MULTSIGNIN(1'b0),
      .CEA1(ce), .CEA2(ce), .CEB1(ce), .CEB2(ce), .CED(ce), .CEAD(ce), .CEM(ce), .CEP(ce), .CEC(1'b0),
      .CEALUMODE(1'b0), .CECARRYIN(1'b0), .CECTRL(1'b0), .CEINMODE(ce),
      .RSTA(1'b0), .RSTB(1'b0), .RSTC(1'b0), .RSTD(1'b0), .RSTM(1'b0), .RSTP(1'b0),
      .RSTALLCARRYIN(1'b0), .RSTALUMODE(1'b0), .RSTCTRL(1'b0), .RSTINMODE(1'b0)
    );
  end endgenerate
endmodule

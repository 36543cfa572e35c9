# Rscript remlscore.R directory rows p q repeats: Gaussian REML by statmod; see benchmarks/bench_reml.py.
#
# In: the doubles of y, X and Z, column by column, in y.bin, X.bin and Z.bin. Out: numbers in
# remlscore.txt, p + q coefficients and then the seconds of each repeat, of the fit alone.

arguments <- commandArgs(trailingOnly = TRUE)
size <- as.integer(arguments[-1])
read <- function(name, columns) {
  values <- readBin(file.path(arguments[1], name), "double", size[1] * columns)
  matrix(values, size[1], columns)
}
y <- drop(read("y.bin", 1))
X <- read("X.bin", size[2])
Z <- read("Z.bin", size[3])
seconds <- numeric()
for (i in seq_len(size[4])) {
  start <- proc.time()[["elapsed"]]
  fit <- statmod::remlscore(y, X, Z)
  seconds[i] <- proc.time()[["elapsed"]] - start
}
found <- c(fit$beta, fit$gamma, seconds)
writeLines(format(as.numeric(found), digits = 17, trim = TRUE), file.path(arguments[1], "remlscore.txt"))

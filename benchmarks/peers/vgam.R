# Rscript vgam.R directory [repeats]: beta-binomial fits by VGAM; log(sigma) = logit(rho).

here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)[1]))
source(file.path(here, "common.R"))
suppressMessages(library(VGAM))

# one design serves both parts, each column once; its constraint says of which parts it is
build <- function(data, xs, zs) {
  twin <- vapply(zs, function(z) {
    Find(function(x) identical(as.numeric(data[[x]]), as.numeric(data[[z]])), xs, nomatch = z)
  }, "")
  used <- c(xs, setdiff(twin, xs))
  constraints <- lapply(used, function(name) diag(2)[, c(name %in% xs, name %in% twin), drop = FALSE])
  names(constraints) <- used
  formula <- reformulate(used, "cbind(y, n - y)", intercept = FALSE)
  family <- betabinomial(lmu = "logitlink", lrho = "logitlink", zero = NULL)
  list(
    run = function() vglm(formula, family, data = data, constraints = constraints),
    read = function(res) {
      estimates <- coef(res, matrix = TRUE)
      list(
        mean = setNames(estimates[xs, 1], xs),
        dispersion = setNames(estimates[twin, 2], zs),
        llf = logLik(res),
        converged = res@iter < res@control$maxit
      )
    }
  )
}

answer_all("vgam", build)

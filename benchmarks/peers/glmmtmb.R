# Rscript glmmtmb.R directory [repeats]: beta-binomial fits by glmmTMB; log(sigma) = -log(phi).

here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)[1]))
source(file.path(here, "common.R"))
suppressMessages(suppressWarnings(library(glmmTMB)))

build <- function(data, xs, zs) {
  mean <- reformulate(xs, "cbind(y, n - y)", intercept = FALSE)
  dispersion <- reformulate(zs, intercept = FALSE)
  list(
    run = function() {
      glmmTMB(mean, dispformula = dispersion, family = betabinomial(), data = data)
    },
    read = function(res) {
      list(
        mean = fixef(res)$cond,
        dispersion = -fixef(res)$disp,
        llf = logLik(res),
        converged = res$fit$convergence == 0 && isTRUE(res$sdr$pdHess)
      )
    }
  )
}

answer_all("glmmtmb", build)

# The cases, or parts of them, that came from statmod, VGAM, glmmTMB and mgcv, made again.
#
#   Rscript tests/reference/r_packages.R
#
# prints the largest difference of each number from the JSON beside this script, in units of the larger of 1
# and its size. Debian 12 has the versions that the JSON names:
#   apt-get install r-base-core r-cran-{jsonlite,statmod,vgam,glmmtmb,mgcv}

suppressPackageStartupMessages(library(jsonlite))

script <- sub("--file=", "", grep("--file=", commandArgs(), value = TRUE))
here <- dirname(normalizePath(script))
bundled <- file.path(here, "..", "..", "hetglm", "datasets")

read_data <- function(name) {
  folder <- if (file.exists(file.path(bundled, paste0(name, ".csv")))) bundled else file.path(here, "data")
  read.csv(file.path(folder, paste0(name, ".csv")), stringsAsFactors = TRUE)
}

stored <- function(case, part = NULL) {
  found <- fromJSON(file.path(here, paste0(case, ".json")))
  if (is.null(part)) found else found[[part]]
}

compare <- function(label, found, kept) {
  for (name in names(found)) {
    new <- as.numeric(unlist(found[[name]]))
    old <- as.numeric(unlist(kept[[name]]))
    stopifnot(length(new) == length(old))
    difference <- max(abs(new - old) / pmax(1, abs(old)))
    cat(sprintf("%-45s %-20s %.1e\n", label, name, difference))
  }
}

remlscore <- function(y, X, Z) {
  fit <- statmod::remlscore(y, X, Z, tol = 1e-10)
  list(
    beta = fit$beta, se_beta = fit$se.beta, gamma_log_variance = fit$gamma, se_gamma = fit$se.gam,
    mu = fit$mu, phi = fit$phi, deviance = fit$deviance, h = fit$h
  )
}

of_statmod <- function() {
  welding <- read_data("welding")
  X <- model.matrix(~ Drying + Material, welding)
  Z <- model.matrix(~ Material + Method + Preheating, welding)
  case <- "gaussian_reml_welding_remlscore"
  compare(case, remlscore(welding$Strength, X, Z), stored(case))
  cats <- read_data("cats")
  X <- model.matrix(~ Bwt, cats)
  fit <- remlscore(cats$Hwt, X, X)
  fit <- c(fit[c("beta", "se_beta", "gamma_log_variance", "se_gamma", "deviance")], list(
    mu_head = head(fit$mu), phi_head = head(fit$phi), h_head = head(fit$h)
  ))
  compare("gaussian_cats_peers, remlscore", fit, stored("gaussian_cats_peers", "remlscore"))
}

of_vgam <- function() {
  suppressPackageStartupMessages(library(VGAM))
  data <- read_data("germination")
  fit <- vglm(cbind(y, n - y) ~ variety * root, betabinomial, data, epsilon = 1e-10, maxit = 200)
  case <- "betabinomial_germination_vgam"
  compare(case, list(coef = coef(fit), llf = logLik(fit), vcov = vcov(fit)), stored(case))
}

glmmtmb <- function(mean, dispersion, family, data) {
  # its default of 300 iterations is too few for the 44 coefficients of splicing
  control <- glmmTMB::glmmTMBControl(optCtrl = list(iter.max = 1e4, eval.max = 1e4))
  fit <- glmmTMB::glmmTMB(mean, dispformula = dispersion, family = family, data = data, control = control)
  coefs <- glmmTMB::fixef(fit)
  list(mu = coefs$cond, dispersion = coefs$disp, llf = as.numeric(logLik(fit)), vcov = vcov(fit, full = TRUE))
}

of_glmmtmb <- function() {
  cases <- list(
    betabinomial_germination = list(cbind(y, n - y) ~ variety * root, ~root),
    betabinomial_germination_full = list(cbind(y, n - y) ~ variety * root, ~ variety + root),
    betabinomial_cbpp = list(cbind(incidence, size - incidence) ~ period, ~period),
    betabinomial_lirat = list(cbind(R, N - R) ~ grp + hb, ~grp),
    betabinomial_splicing = list(cbind(K, N - K) ~ id, ~ group + treatment)
  )
  for (case in names(cases)) {
    kept <- stored(case, "glmmTMB")
    data <- read_data(stored(case, "data"))
    for (name in intersect(c("period", "grp"), names(data))) data[[name]] <- factor(data[[name]])
    fit <- glmmtmb(cases[[case]][[1]], cases[[case]][[2]], glmmTMB::betabinomial(), data)
    names(fit)[2] <- "log_phi"
    if (is.null(kept[["vcov"]])) {
      fit$vcov_diagonal <- diag(fit$vcov)
      fit$vcov <- NULL
    }
    compare(paste0(case, ", glmmTMB"), fit, kept)
  }
  salamanders <- read_data("salamanders")
  salamanders$spp <- factor(salamanders$spp, c("GP", "PR", "DM", "EC-A", "EC-L", "DES-L", "DF"))
  salamanders$mined <- factor(salamanders$mined, c("yes", "no"))
  fit <- glmmtmb(count ~ spp + mined, ~ DOP + mined, glmmTMB::nbinom2(), salamanders)
  names(fit)[2] <- "disp"
  compare("negbin_salamanders, glmmTMB", fit, stored("negbin_salamanders", "glmmTMB"))
}

of_mgcv <- function() {
  fit <- mgcv::gam(list(Hwt ~ Bwt, ~Bwt), family = mgcv::gaulss(), data = read_data("cats"))
  found <- list(coef = coef(fit), llf = as.numeric(logLik(fit)))
  compare("gaussian_cats_peers, mgcv", found, stored("gaussian_cats_peers", "mgcv_gaulss"))
}

makers <- list(statmod = of_statmod, VGAM = of_vgam, glmmTMB = of_glmmtmb, mgcv = of_mgcv)
for (package in names(makers)) {
  if (requireNamespace(package, quietly = TRUE)) {
    cat(package, as.character(packageVersion(package)), "\n")
    makers[[package]]()
  } else {
    cat(package, "is not installed\n")
  }
}

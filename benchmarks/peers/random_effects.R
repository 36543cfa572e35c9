# Rscript random_effects.R PEER MEAN DISPERSION FAMILY CSV REPEATS: models with random effects by glmmTMB or
# lme4 (glmer). It prints a line of JSON: version, log-likelihood and seconds of each fit, the first apart.

arguments <- commandArgs(trailingOnly = TRUE)
package <- arguments[1]
mean <- as.formula(arguments[2])
dispersion <- as.formula(arguments[3])
suppressMessages(suppressWarnings(library(package, character.only = TRUE)))
family <- eval(parse(text = arguments[4]))
data <- read.csv(arguments[5], stringsAsFactors = TRUE)
repeats <- as.integer(arguments[6])
for (name in intersect(c("herd", "period"), names(data))) data[[name]] <- factor(data[[name]])

fit <- function() {
  if (package == "lme4") return(glmer(mean, data, family = family))
  glmmTMB(mean, dispformula = dispersion, family = family, data = data)
}

seconds <- numeric()
for (i in seq_len(repeats + 1)) {
  start <- proc.time()[["elapsed"]]
  result <- suppressWarnings(suppressMessages(fit()))
  seconds[i] <- proc.time()[["elapsed"]] - start
}
cat(sprintf(
  "{\"version\": \"%s\", \"llf\": %.10f, \"seconds\": [%s]}\n",
  as.character(packageVersion(package)), as.numeric(logLik(result)), paste(seconds, collapse = ", ")
))

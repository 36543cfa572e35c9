# Rscript lmer.R PEER FORMULA CSV REPEATS: linear mixed models by lme4 (lmer) or glmmTMB, by REML.
# The data are those of linear_mixed.py, and so is the line that it prints.

arguments <- commandArgs(trailingOnly = TRUE)
package <- arguments[1]
model <- as.formula(arguments[2])
data <- read.csv(arguments[3])
repeats <- as.integer(arguments[4])
suppressMessages(suppressWarnings(library(package, character.only = TRUE)))
for (name in intersect(c("g", "h"), names(data))) data[[name]] <- factor(data[[name]])

fit <- function() {
  if (package == "lme4") return(lmer(model, data, REML = TRUE))
  glmmTMB(model, data, REML = TRUE)
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

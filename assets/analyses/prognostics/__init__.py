"""Failure prediction: labels, the steps of each life, features, classifiers, their test on the past, remaining life."""
